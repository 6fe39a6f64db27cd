"""Speed on ARM boards without the boards: instructions executed under qemu, their cycles by llvm-mca."""
