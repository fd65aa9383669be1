//! A fingerprint of decoded coefficients, for comparing decoders without keeping their output.

use sha2::{Digest, Sha256};

use super::coefficients::{Coefficients, Plane};

impl Coefficients {
    /// SHA-256 over the quantised coefficients of the components' own blocks (padding to whole MCUs left out).
    ///
    /// For each component in frame order: blocks wide and blocks high as `u32` little-endian, then the coefficients as `i16`
    /// little-endian, blocks in raster order, natural order within a block.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for plane in &self.planes {
            update(&mut hasher, plane);
        }
        hasher.finalize().into()
    }
}

fn update(hasher: &mut Sha256, plane: &Plane) {
    hasher.update(plane.blocks_wide.to_le_bytes());
    hasher.update(plane.blocks_high.to_le_bytes());
    let row_len = plane.blocks_wide as usize * 64;
    for row in plane.data.chunks(plane.pitch_blocks as usize * 64).take(plane.blocks_high as usize) {
        let bytes: Vec<u8> = row[..row_len].iter().flat_map(|c| c.to_le_bytes()).collect();
        hasher.update(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg::{ColorModel, Component, EntropyCoding, Frame, Orientation, Process};

    /// One component, 1 x 1 blocks of its own, in memory padded to `pitch_blocks` x 1.
    fn one_block(pitch_blocks: u32, padding: i16) -> Coefficients {
        let mut data = vec![padding; pitch_blocks as usize * 64];
        data[..64].fill(0);
        data[1] = -2;
        let component = Component::new(1, (1, 1), 0, (8, 8), (1, 1));
        Coefficients {
            frame: Frame {
                process: Process::Baseline,
                coding: EntropyCoding::Huffman,
                precision_bits: 8,
                width: 8,
                height: 8,
                components: vec![component],
                h_max: 1,
                v_max: 1,
            },
            color: ColorModel::Gray,
            orientation: Orientation::Upright,
            planes: vec![Plane {
                blocks_wide: 1,
                blocks_high: 1,
                pitch_blocks,
                padded_blocks_high: 1,
                data,
                quant: None,
            }],
        }
    }

    #[test]
    fn follows_its_definition() {
        let mut bytes = vec![1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0xFE, 0xFF];
        bytes.resize(8 + 128, 0);
        let expected: [u8; 32] = Sha256::digest(&bytes).into();
        assert_eq!(one_block(1, 0).digest(), expected);
    }

    #[test]
    fn leaves_padding_out() {
        assert_eq!(one_block(3, 7).digest(), one_block(1, 0).digest());
    }
}
