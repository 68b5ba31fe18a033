"""What runs in a jail or around it. These files are copied next to it and import nothing of the
lab but `events`, `faults`, `disk`, `protocols.effects` and the links: no room with answers."""
