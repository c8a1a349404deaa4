{{ outcome_history('origin', ['origin'], hours=[6], days=[1], with_cancelled=true) }}
