"""What every kernel costs, read from its machine code: kernels/budget.tsv and kernels/loops.tsv. Run by ci/kernels.sh.

usage: kernel_budget.py TOOLS BUILD OUTPUT
  TOOLS   the folder of cuobjdump and nvdisasm
  BUILD   holds sm_80.cubin, sm_90a.cubin, compute_80.ptx, compute_90a.ptx, and ptxas's messages in ptxas-ARCH.log
  OUTPUT  the folder to write the two tables to
Fails when a kernel spills registers or keeps anything on a stack, on any architecture.
"""

import re
import subprocess
import sys
from pathlib import Path

INSTRUCTION_BYTES = 16
SM90A_COLUMN = 4


def kernels():
    """(name, architecture) of every line of kernels.def."""
    for line in Path("kernels/kernels.def").read_text().splitlines():
        if match := re.match(r"KERNEL\((.*)\)$", line):
            columns = [column.strip() for column in match[1].split(",")]
            yield columns[0], "sm_90a" if columns[SM90A_COLUMN] == "sm90a" else "sm_80"


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def resources(tools, cubin):
    """Kernel -> registers and bytes of stack, from the machine code."""
    text = run(tools / "cuobjdump", "--dump-resource-usage", cubin)
    found = re.findall(r"Function (\w+)_entry:\s+REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", text)
    return {name: (int(registers), int(stack) + int(local)) for name, registers, stack, local in found}


def spills(log):
    """Kernel -> bytes spilt (stores and loads) and bytes of stack, from ptxas's messages."""
    pattern = r"Function properties for (\w+)\n\s+(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    return {
        name.removesuffix("_entry"): (int(stores) + int(loads), int(stack))
        for name, stack, stores, loads in re.findall(pattern, log.read_text())
    }


def smem_bytes(ptx):
    """Kernel -> sizeof(Smem), which device.cu leaves in a constant."""
    return dict(re.findall(r"\.global \.align 4 \.u32 (\w+)_smem_bytes(?: = (\d+))?;", ptx.read_text()))


def source_text(place):
    """The line of a kernel's file that a place names, as written."""
    path, line = place
    return f"{Path(path).name}: {Path(path).read_text().splitlines()[line - 1].strip()}"


class Code:
    """One kernel's machine code: where its labels are, where its branches go, and which line of ours each instruction comes from."""

    def __init__(self, kernel):
        self.kernel, self.labels, self.branches, self.places, self.products = kernel, {}, [], {}, set()

    def innermost_loops(self):
        """(first address, last address) of every loop that holds no other, in the order of the code."""
        ends = {}
        for address, label in self.branches:
            start = self.labels[label]
            if start < address:  # a branch to itself is the padding behind the end
                ends[start] = max(address, ends.get(start, 0))
        loops = sorted(ends.items())
        return [(s, e) for s, e in loops if not any(s <= s2 and e2 <= e and (s2, e2) != (s, e) for s2, e2 in loops)]

    def last_place(self, start, end):
        """The line of ours that the loop's last instructions come from."""
        return next(place for a in range(end, -1, -INSTRUCTION_BYTES) if (place := self.places.get(a)))


def disassemble(tools, cubin):
    """The code of every kernel, in the order of the file."""
    sources = str(Path("kernels").resolve())
    kernels, place, new_labels = [], None, []
    for line in run(tools / "nvdisasm", "-c", "-g", cubin).splitlines():
        if match := re.search(r"\.section\s+\.text\.(\w+)_entry,", line):
            kernels.append(Code(match[1]))
        elif match := re.match(r"\s*//## File \"(.*)\", line (\d+)", line):
            path = str(Path(match[1]).resolve())
            place = (path, int(match[2])) if path.startswith(sources) and not path.endswith(".def") else None
        elif match := re.match(r"(\.L_x_\d+):", line):
            new_labels.append(match[1])
        elif match := re.match(r"\s*/\*([0-9a-f]+)\*/\s+(.*)", line):
            address = int(match[1], 16)
            kernels[-1].labels.update((label, address) for label in new_labels)
            kernels[-1].places[address] = place
            if "HMMA" in match[2]:
                kernels[-1].products.add(address)
            new_labels = []
            if branch := re.search(r"\bBRA\b.*`\((\.L_x_\d+)\)", match[2]):
                kernels[-1].branches.append((address, branch[1]))
    return kernels


def main():
    tools, build, output = map(Path, sys.argv[1:])
    usage = {arch: resources(tools, build / f"{arch}.cubin") for arch in ("sm_80", "sm_90a")}
    shared = smem_bytes(build / "compute_90a.ptx") | smem_bytes(build / "compute_80.ptx")
    logs = sorted(build.glob("ptxas-*.log"))
    mistakes = []
    budget = ["kernel\tregisters\tspill bytes\tstack bytes\tshared bytes"]
    for name, arch in kernels():
        registers, stack = usage[arch][name]
        found = {log.stem.removeprefix("ptxas-"): spills(log).get(name, (0, 0)) for log in logs}
        mistakes += [f"{name} on {target}: spills {s} bytes, {k} bytes of stack" for target, (s, k) in found.items() if s or k]
        spilt = max(spilt for spilt, _ in found.values())
        budget.append(f"{name}\t{registers}\t{spilt}\t{stack}\t{shared.get(name) or 0}")
    loops = ["kernel\tSASS instructions\ton tensor cores\tend of the loop"]
    for arch in ("sm_80", "sm_90a"):
        names = {name for name, own in kernels() if own == arch}
        for code in disassemble(tools, build / f"{arch}.cubin"):
            for start, end in code.innermost_loops() if code.kernel in names else []:
                instructions = (end - start) // INSTRUCTION_BYTES + 1
                products = sum(start <= address <= end for address in code.products)
                loops.append(f"{code.kernel}\t{instructions}\t{products}\t{source_text(code.last_place(start, end))}")
    (output / "budget.tsv").write_text("\n".join(budget) + "\n")
    (output / "loops.tsv").write_text("\n".join(loops) + "\n")
    if mistakes:
        sys.exit("\n".join(mistakes))


if __name__ == "__main__":
    main()
