//! What is done to an image between its coefficients and the network's grid. Part of a network's weights.

/// How the image is resized before the crop. Antialiased triangle filter (bilinear), as Pillow's and torchvision's BILINEAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// Keep the size.
    None,
    /// The short side to this many samples, the long side to `floor(side * long / short)` (torchvision's `Resize(int)`).
    ShortSide(u32),
    /// Exactly this width and height, whatever the shape.
    Exact {
        /// Samples in a row.
        width: u32,
        /// Rows.
        height: u32,
    },
}

/// Whether EXIF orientation is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrientationRule {
    /// The network sees the image as it is to be shown.
    Apply,
    /// The network sees the image as it is stored.
    Ignore,
}

/// Orient, resize, take the centre crop, flip: in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transform {
    /// EXIF orientation.
    pub orientation: OrientationRule,
    /// The resize rule.
    pub resize: Resize,
    /// Width and height of the centre crop, which are the network's input size: multiples of 16.
    pub crop: (u32, u32),
    /// Mirror left to right afterwards.
    pub flip: bool,
}

impl Default for Transform {
    /// ImageNet's evaluation: orientation applied, short side 256, centre crop 224.
    fn default() -> Self {
        Self { orientation: OrientationRule::Apply, resize: Resize::ShortSide(256), crop: (224, 224), flip: false }
    }
}
