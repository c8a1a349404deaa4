{{ outcome_history('aircraft', ['tail_number'], days=[1, 28]) }}
