{{ outcome_history('carrier', ['origin', 'carrier']) }}
