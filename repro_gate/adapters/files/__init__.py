"""Every file that the gate reads or writes."""
