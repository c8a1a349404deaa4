{{ outcome_history('flight_number', ['carrier', 'flight_number'], days=[7, 28]) }}
