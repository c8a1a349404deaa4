"""Raw data: where it comes from, what it must look like, and the assets that hold it.

A source is read as it is and checked against its contract; what breaks the contract is kept
apart with the reason. Cleaning, renaming and joining belong to the warehouse.
"""
