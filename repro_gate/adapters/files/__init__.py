"""Files that the gate reads and writes: matrix, goldens, reports and other documents."""
