//! The orthonormal 8-point DCT as a matrix.

use std::sync::LazyLock;

/// `D[u][x] = c(u) / 2 * cos((2x + 1) u pi / 16)`, c(0) = 1/sqrt(2), else 1: T.81 A.3.3 is `S = D s D^T`, and `s = D^T S D`.
pub static DCT: LazyLock<[[f64; 8]; 8]> = LazyLock::new(|| {
    std::array::from_fn(|u| {
        std::array::from_fn(|x| {
            let scale = if u == 0 { 0.125f64.sqrt() } else { 0.5 };
            scale * ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / 16.0).cos()
        })
    })
});

/// `D^T`: row x holds every frequency's value at sample x.
pub static DCT_TRANSPOSED: LazyLock<[[f64; 8]; 8]> =
    LazyLock::new(|| std::array::from_fn(|x| std::array::from_fn(|u| DCT[u][x])));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_orthonormal() {
        for u in 0..8 {
            for v in 0..8 {
                let dot: f64 = (0..8).map(|x| DCT[u][x] * DCT[v][x]).sum();
                assert!((dot - f64::from(u8::from(u == v))).abs() < 1e-15, "{u} {v}: {dot}");
            }
        }
    }
}
