//! Damage to files, for tests and fuzzing.

use super::random::Random;

/// One random change: a flipped bit, a changed, removed or inserted byte, a removed or repeated stretch, or a cut end.
pub fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut mutated = bytes.to_vec();
    if bytes.is_empty() {
        return mutated;
    }
    let at = random.below(bytes.len() as u32) as usize;
    let end = (at + 1 + random.below(64) as usize).min(bytes.len());
    match random.below(10) {
        0..4 => mutated[at] ^= 1 << random.below(8),
        4 => mutated[at] = random.bits() as u8,
        5 => drop(mutated.remove(at)),
        6 => mutated.insert(at, *random.pick(&[0x00, 0x01, 0xD0, 0xD9, 0xFF])),
        7 => drop(mutated.drain(at..end)),
        8 => drop(mutated.splice(at..at, bytes[at..end].iter().copied())),
        _ => mutated.truncate(at),
    }
    mutated
}

/// `bytes` with one bit flipped; bit 0 is the most significant of the first byte.
pub fn flip_bit(bytes: &[u8], bit_idx: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[bit_idx / 8] ^= 0x80 >> (bit_idx % 8);
    flipped
}

/// `bytes` cut off after every `step_bytes`, shortest first.
pub fn truncations(bytes: &[u8], step_bytes: usize) -> impl Iterator<Item = &[u8]> {
    (0..bytes.len()).step_by(step_bytes).map(|end| &bytes[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutation_is_a_function_of_the_seed_and_never_panics() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mutated = |seed| mutate(&bytes, &mut Random::new(seed));
        assert!((0..1000).filter(|&seed| mutated(seed) != bytes).count() > 950);
        assert_eq!(mutated(17), mutated(17));
        assert!(mutate(&[], &mut Random::new(1)).is_empty());
    }

    #[test]
    fn bits_count_from_the_most_significant() {
        assert_eq!(flip_bit(&[0, 0], 9), [0, 0x40]);
        assert_eq!(truncations(&[1, 2, 3], 2).collect::<Vec<_>>(), [&[][..], &[1, 2]]);
    }
}
