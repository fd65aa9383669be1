//! What the compiler reported of every kernel: `kernels/budget.tsv` and `kernels/loops.tsv`.

/// What a kernel takes of a multiprocessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Registers of a thread.
    pub registers: u32,
    /// Shared memory of a CTA, without the tail that a launch asks for.
    pub smem_bytes: u32,
}

/// The budget of a kernel; `None` if the table does not know it (kernels of tests).
pub fn budget(kernel: &str) -> Option<Budget> {
    rows(include_str!("../../../kernels/budget.tsv")).find_map(|columns| match columns[..] {
        [name, registers, _, _, smem_bytes] if name == kernel => {
            Some(Budget { registers: registers.parse().ok()?, smem_bytes: smem_bytes.parse().ok()? })
        }
        _ => None,
    })
}

/// Instructions of machine code in one turn of the loop of `kernel` whose last line holds `end`, without those that warps rarely take.
/// Where the compiler made several loops of one, the largest.
pub fn loop_instructions(kernel: &str, end: &str) -> Option<u32> {
    let instructions = |columns: Vec<&str>| match columns[..] {
        [name, all, rare, _, line] if name == kernel && line.contains(end) => {
            Some(all.parse::<u32>().ok()? - rare.parse::<u32>().ok()?)
        }
        _ => None,
    };
    rows(include_str!("../../../kernels/loops.tsv")).filter_map(instructions).max()
}

/// The lines below the head, as columns.
fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table.lines().skip(1).map(|line| line.split('\t').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_of_the_product_has_a_budget() {
        let product = include_str!("../../../kernels/kernels.def");
        let kernels = product.lines().filter_map(|line| line.strip_prefix("KERNEL(")?.split(',').next());
        let mut num_kernels = 0;
        for kernel in kernels {
            let budget = budget(kernel).unwrap_or_else(|| panic!("{kernel}"));
            assert!((1..256).contains(&budget.registers), "{kernel}: {budget:?}");
            num_kernels += 1;
        }
        assert!(num_kernels > 15);
        assert_eq!(budget("no_kernel"), None);
    }

    #[test]
    fn loops_are_found_by_their_ends() {
        let instructions = loop_instructions("convolve_64x64", "step < num_steps").unwrap();
        assert!((50..1000).contains(&instructions));
        assert_eq!(loop_instructions("convolve_64x64", "no such line"), None);
    }
}
