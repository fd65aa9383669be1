//! The two orders of a block's 64 coefficients (T.81 Figure 5 and A.6): zig-zag as sent, natural (row-major) as used.
//! [`ZigZag`] and [`Natural`] are different types so that they cannot be mixed up.

/// `NATURAL_FROM_ZIGZAG[k]` is the natural (row-major) index of ZZ(k).
pub const NATURAL_FROM_ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// `ZIGZAG_FROM_NATURAL[i]` is the k of ZZ(k) at natural (row-major) index i.
pub const ZIGZAG_FROM_NATURAL: [u8; 64] = {
    let mut inverse = [0u8; 64];
    let mut k = 0;
    while k < 64 {
        inverse[NATURAL_FROM_ZIGZAG[k] as usize] = k as u8;
        k += 1;
    }
    inverse
};

/// 64 values of one block in zig-zag order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZigZag<T>(pub [T; 64]);

/// 64 values of one block in natural order: index `8 * v + u`, v the vertical and u the horizontal frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Natural<T>(pub [T; 64]);

impl<T: Copy> ZigZag<T> {
    /// The same values in natural order.
    pub fn to_natural(&self) -> Natural<T> {
        Natural(std::array::from_fn(|i| self.0[ZIGZAG_FROM_NATURAL[i] as usize]))
    }
}

impl<T: Copy> Natural<T> {
    /// The same values in zig-zag order.
    pub fn to_zigzag(&self) -> ZigZag<T> {
        ZigZag(std::array::from_fn(|k| self.0[NATURAL_FROM_ZIGZAG[k] as usize]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_orders_are_inverse() {
        let zigzag = ZigZag(std::array::from_fn(|k| k));
        assert_eq!(zigzag.to_natural().to_zigzag(), zigzag);
        assert_eq!(zigzag.to_natural().0[8], 2); // ZZ(2) is one row down (T.81 Figure A.6)
        assert_eq!(zigzag.to_natural().0[1], 1);
    }
}
