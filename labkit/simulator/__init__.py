"""Engine 1: protocols in virtual time, where one seed decides everything that can go wrong."""
