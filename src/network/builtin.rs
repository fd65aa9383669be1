//! The model that comes with the program (feature `builtin-model`). `models/README.md` says what it was trained on, how, and what it is good for.

use crate::error::Result;
use crate::network::Weights;

/// Late-Concat-RFA-Thinner at a quarter of its width, 16-bit.
static FILE: &[u8] = include_bytes!("../../models/imagenette.safetensors");

impl Weights {
    /// A small network that knows the ten classes of Imagenette and nothing else: so that there is something that answers on a machine where nothing
    /// was downloaded yet.
    ///
    /// # Errors
    /// None, but those of [`Weights::from_bytes`] if the file beside the sources was replaced by another.
    pub fn builtin() -> Result<Self> {
        Self::from_bytes(FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Variant;

    #[test]
    fn the_model_is_small_and_knows_its_classes() {
        assert!(FILE.len() <= 4_000_000, "{} bytes", FILE.len());
        let weights = Weights::builtin().unwrap();
        assert_eq!(weights.config().variant, Variant::LateConcatRfaThinner);
        assert_eq!((weights.config().classes, weights.metadata().class_names.len()), (10, 10));
        assert!(weights.metadata().provenance.contains("Imagenette"), "{}", weights.metadata().provenance);
    }
}
