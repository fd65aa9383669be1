//! Which structs of abi.h are plain bytes: they travel in uploads and downloads.

use super::bindings::*;
use bytemuck::{Pod, Zeroable};

macro_rules! plain {
    ($($name:ident)*) => {$(
        // SAFETY: numbers and arrays of them, for which zero is a value.
        unsafe impl Zeroable for $name {}
        // SAFETY: repr(C) without padding: abi.h names every byte, and `plain_structs_have_no_padding` adds them up.
        unsafe impl Pod for $name {}
    )*};
}

plain!(HuffmanSpec ScanComponent McuBlock ScanDesc ImageDesc WorkTile ImageOutcome);
plain!(AxisDesc InputPlane InputGrid InputTile InputAffine);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_structs_have_no_padding() {
        assert_eq!(size_of::<HuffmanSpec>(), 4 + 16 + 256);
        assert_eq!(size_of::<ScanComponent>(), 8 + 4 + 4);
        assert_eq!(size_of::<McuBlock>(), 8);
        let tables = 2 * 4 * MAX_COMPONENTS as usize;
        let components = size_of::<ScanComponent>() * MAX_COMPONENTS as usize;
        let blocks = size_of::<McuBlock>() * MAX_MCU_BLOCKS as usize;
        assert_eq!(size_of::<ScanDesc>(), 3 * 8 + 12 * 4 + tables + components + blocks + 8);
        assert_eq!(size_of::<ImageDesc>(), 6 * 4);
        assert_eq!(size_of::<WorkTile>(), 2 * 4);
        assert_eq!(size_of::<ImageOutcome>(), 10 * 4);
        assert_eq!(size_of::<AxisDesc>(), 2 * 8 + 8 * 4);
        assert_eq!(size_of::<InputPlane>(), 8 + 6 * 4);
        assert_eq!(size_of::<InputGrid>(), 6 * 4 + 4);
        assert_eq!(size_of::<InputTile>(), 2 * 4);
        assert_eq!(size_of::<InputAffine>(), 2 * 4 * INPUT_CHANNELS as usize);
    }
}
