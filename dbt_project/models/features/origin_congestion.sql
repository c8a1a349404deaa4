{{ congestion('origin', ['origin'], step=10, hours=[1, 3]) }}
