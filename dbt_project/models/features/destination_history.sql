{{ outcome_history('destination', ['dest'], hours=[6], days=[1, 7]) }}
