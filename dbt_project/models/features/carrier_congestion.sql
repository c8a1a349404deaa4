{{ congestion('carrier', ['origin', 'carrier'], step=15, hours=[3]) }}
