{{ outcome_history('route', ['origin', 'dest']) }}
