#!/usr/bin/env python3
"""instructions.py: counts the instructions that an emulated program executes, from qemu's log on standard input.

    qemu-arm -d in_asm,exec,nochain -D /dev/stdout PROGRAM … | packaging/instructions.py

`in_asm` lists each block once, an instruction a line; `exec` has a line for each execution of a block. Prints one number.
"""
import collections
import re
import sys

# Trace 0: 0x7f3f70000100 [00000000/00010a54/00000000/ff200000] main
TRACE = re.compile(rb"^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/")
# 0x00010a54:  e3a0b000  mov      fp, #0
INSTRUCTION = re.compile(rb"^0x([0-9a-f]+): ")


def main() -> None:
    lengths: dict[int, int] = {}
    executed: collections.Counter[int] = collections.Counter()
    block, length = None, 0
    for line in sys.stdin.buffer:
        if trace := TRACE.match(line):
            executed[int(trace[1], 16)] += 1
        elif instruction := INSTRUCTION.match(line):
            if block is None:
                block = int(instruction[1], 16)
            length += 1
        elif block is not None:
            lengths[block] = length
            block, length = None, 0
    print(sum(count * lengths.get(block, 0) for block, count in executed.items()))


main()
