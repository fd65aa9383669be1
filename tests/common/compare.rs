//! Bit-for-bit comparison of coefficients, with the place of the first difference.

use dctflow::jpeg::Plane;

/// The first difference between the components' own blocks, as `component c, block (bx, by), k: a is not b`; padding is not looked at.
/// Quantisation tables are compared where both have one.
pub fn first_difference(actual: &[Plane], expected: &[Plane]) -> Option<String> {
    if actual.len() != expected.len() {
        return Some(format!("{} components are not {}", actual.len(), expected.len()));
    }
    let mut pairs = actual.iter().zip(expected).enumerate();
    pairs.find_map(|(component_idx, (a, e))| {
        plane_difference(a, e).map(|difference| format!("component {component_idx}, {difference}"))
    })
}

fn plane_difference(actual: &Plane, expected: &Plane) -> Option<String> {
    let size = |plane: &Plane| (plane.blocks_wide, plane.blocks_high);
    if size(actual) != size(expected) {
        return Some(format!("size in blocks: {:?} is not {:?}", size(actual), size(expected)));
    }
    if let (Some(a), Some(e)) = (&actual.quant, &expected.quant)
        && let Some(natural_idx) = (0..64).find(|&i| a.0[i] != e.0[i])
    {
        return Some(format!("quantisation {natural_idx}: {} is not {}", a.0[natural_idx], e.0[natural_idx]));
    }
    let positions = (0..actual.blocks_high).flat_map(|by| (0..actual.blocks_wide).map(move |bx| (bx, by)));
    positions.into_iter().find_map(|(bx, by)| {
        let (a, e) = (actual.block(bx, by), expected.block(bx, by));
        let natural_idx = (0..64).find(|&i| a[i] != e[i])?;
        let k = dctflow::jpeg::ZIGZAG_FROM_NATURAL[natural_idx];
        Some(format!("block ({bx}, {by}), k = {k}: {} is not {}", a[natural_idx], e[natural_idx]))
    })
}
