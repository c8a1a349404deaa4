{{ outcome_history('route', ['origin', 'dest'], hours=[6], days=[1, 7]) }}
