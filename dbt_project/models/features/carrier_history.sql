{{ outcome_history('carrier', ['origin', 'carrier'], hours=[6], days=[1, 7, 28], with_cancelled=true) }}
