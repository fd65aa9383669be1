//! What is done to an image between its coefficients and the network's grid. Part of a network's weights.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Largest side of the network's input, in samples.
pub const MAX_CROP: u32 = 8_192;
/// Largest side to which an image may be resized before the crop, in samples.
pub const MAX_RESIZE: u32 = 65_535;

/// How the image is resized before the crop. Antialiased triangle filter (bilinear), as Pillow's and torchvision's BILINEAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// This box of the oriented image is resized to the crop's size, and no sample outside of it is read: training's random
    /// resized crop.
    Box {
        /// First column.
        left: u32,
        /// First row.
        top: u32,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
}

/// Whether EXIF orientation is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrientationRule {
    /// The network sees the image as it is to be shown.
    Apply,
    /// The network sees the image as it is stored.
    Ignore,
}

/// Orient, resize, take the centre crop, flip: in this order.
///
/// As text (`--transform`, and a JSON string in the weights' metadata) it is a list of `name=value`, separated by commas; what is
/// not named keeps its default:
///
/// | item | meaning |
/// |---|---|
/// | `resize=none` | keep the size |
/// | `short=N` | short side to N samples (default, N = 256) |
/// | `exact=WxH` | to exactly W x H samples |
/// | `box=LEFT:TOP:WxH` | this box of the oriented image, to the crop's size |
/// | `crop=N`, `crop=WxH` | centre crop, the network's input size: multiples of 16 (default 224) |
/// | `orientation=apply`, `orientation=ignore` | EXIF orientation (default `apply`) |
/// | `flip=yes`, `flip=no` | mirror left to right (default `no`) |
///
/// ```
/// use dctflow::resample::{Resize, Transform};
/// let transform: Transform = "short=288,crop=256".parse()?;
/// assert_eq!(transform.resize, Resize::ShortSide(288));
/// assert_eq!(transform.to_string(), "short=288,crop=256,orientation=apply,flip=no");
/// # Ok::<(), dctflow::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
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

impl Transform {
    /// Checks what holds for every image: the crop's sides are multiples of 16 up to [`MAX_CROP`], and what is resized is not
    /// smaller than the crop.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], saying what is allowed.
    pub fn validate(&self) -> Result<()> {
        let (crop_width, crop_height) = self.crop;
        for side in [crop_width, crop_height] {
            if side == 0 || side % 16 != 0 || side > MAX_CROP {
                return usage(format!(
                    "crop {side}: a side of the crop must be a multiple of 16, from 16 to {MAX_CROP}"
                ));
            }
        }
        match self.resize {
            Resize::None => Ok(()),
            Resize::ShortSide(side) if side < crop_width.max(crop_height) || side > MAX_RESIZE => usage(format!(
                "short side {side}: must be at least the crop's longer side ({}) and at most {MAX_RESIZE}",
                crop_width.max(crop_height)
            )),
            Resize::Exact { width, height }
                if width < crop_width || height < crop_height || width.max(height) > MAX_RESIZE =>
            {
                usage(format!(
                    "exact size {width}x{height}: must be at least the crop ({crop_width}x{crop_height}), sides at most {MAX_RESIZE}"
                ))
            }
            Resize::Box { width, height, .. } if width == 0 || height == 0 => {
                usage(format!("box of {width}x{height}: must hold at least one sample"))
            }
            Resize::ShortSide(_) | Resize::Exact { .. } | Resize::Box { .. } => Ok(()),
        }
    }
}

fn usage<T>(message: String) -> Result<T> {
    Err(Error::new(ErrorKind::Usage, message))
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "resize=none"),
            Self::ShortSide(side) => write!(f, "short={side}"),
            Self::Exact { width, height } => write!(f, "exact={width}x{height}"),
            Self::Box { left, top, width, height } => write!(f, "box={left}:{top}:{width}x{height}"),
        }
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},crop=", self.resize)?;
        match self.crop {
            (width, height) if width == height => write!(f, "{width}")?,
            (width, height) => write!(f, "{width}x{height}")?,
        }
        let orientation = match self.orientation {
            OrientationRule::Apply => "apply",
            OrientationRule::Ignore => "ignore",
        };
        write!(f, ",orientation={orientation},flip={}", if self.flip { "yes" } else { "no" })
    }
}

impl From<Transform> for String {
    fn from(transform: Transform) -> Self {
        transform.to_string()
    }
}

impl TryFrom<String> for Transform {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for Transform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut transform = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let Some((name, value)) = item.split_once('=') else {
                return usage(format!("'{item}' in the transform: write name=value, as short=256,crop=224"));
            };
            let slot = if matches!(name, "short" | "exact" | "box") { "resize" } else { name };
            if seen.contains(&slot) {
                return usage(format!("'{item}' in the transform: {slot} is given twice"));
            }
            seen.push(slot);
            transform.set(name, value)?;
        }
        transform.validate()?;
        Ok(transform)
    }
}

impl Transform {
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match (name, value) {
            ("resize", "none") => self.resize = Resize::None,
            ("short", _) => self.resize = Resize::ShortSide(parse_samples(name, value)?),
            ("exact", _) => {
                let (width, height) = parse_size(name, value)?;
                self.resize = Resize::Exact { width, height };
            }
            ("box", _) => self.resize = parse_box(value)?,
            ("crop", _) if value.contains('x') => self.crop = parse_size(name, value)?,
            ("crop", _) => self.crop = [parse_samples(name, value)?; 2].into(),
            ("orientation", "apply") => self.orientation = OrientationRule::Apply,
            ("orientation", "ignore") => self.orientation = OrientationRule::Ignore,
            ("flip", "yes") => self.flip = true,
            ("flip", "no") => self.flip = false,
            _ => {
                return usage(format!(
                    "'{name}={value}' in the transform: allowed are resize=none, short=N, exact=WxH, box=LEFT:TOP:WxH, crop=N, \
                     crop=WxH, orientation=apply|ignore, flip=yes|no"
                ));
            }
        }
        Ok(())
    }
}

fn parse_samples(name: &str, value: &str) -> Result<u32> {
    value.parse().or_else(|_| usage(format!("'{value}' in the transform: {name} takes a number of samples")))
}

fn parse_size(name: &str, value: &str) -> Result<(u32, u32)> {
    let Some((width, height)) = value.split_once('x') else {
        return usage(format!("'{value}' in the transform: {name} takes WxH, as 256x192"));
    };
    Ok((parse_samples(name, width)?, parse_samples(name, height)?))
}

fn parse_box(value: &str) -> Result<Resize> {
    let parts: Vec<&str> = value.split(':').collect();
    let [left, top, size] = parts.as_slice() else {
        return usage(format!("'{value}' in the transform: box takes LEFT:TOP:WxH, as 32:0:256x192"));
    };
    let (width, height) = parse_size("box", size)?;
    Ok(Resize::Box { left: parse_samples("box", left)?, top: parse_samples("box", top)?, width, height })
}

/// What the RGB network's samples, divided by 255, are brought to: `(sample - mean) / std` per channel. Part of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// Subtracted, in the order red, green, blue.
    pub mean: [f32; 3],
    /// Divided by.
    pub std: [f32; 3],
}

impl Default for Normalization {
    /// ImageNet's.
    fn default() -> Self {
        Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in [
            "resize=none,crop=224,orientation=apply,flip=no",
            "short=256,crop=224x192,orientation=ignore,flip=yes",
            "exact=640x480,crop=320,orientation=apply,flip=no",
            "box=3:0:100x77,crop=224,orientation=apply,flip=yes",
        ] {
            let transform: Transform = text.parse().unwrap();
            assert_eq!(transform.to_string(), text);
            let json = serde_json::to_string(&transform).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Transform>(&json).unwrap(), transform);
        }
    }

    #[test]
    fn what_is_not_named_keeps_its_default() {
        assert_eq!("".parse::<Transform>().unwrap(), Transform::default());
        assert_eq!(" flip=yes ,".parse::<Transform>().unwrap(), Transform { flip: true, ..Transform::default() });
    }

    #[test]
    fn errors_say_what_is_allowed() {
        for (text, hint) in [
            ("crop=225", "multiple of 16"),
            ("crop=0", "multiple of 16"),
            ("crop=16384", "8192"),
            ("short=200", "at least the crop"),
            ("exact=100x300", "at least the crop"),
            ("exact=300", "WxH"),
            ("box=1:2", "LEFT:TOP:WxH"),
            ("box=0:0:0x4", "at least one sample"),
            ("short=256,exact=300x300", "twice"),
            ("short=tall", "number of samples"),
            ("short", "name=value"),
            ("flip=maybe", "flip=yes|no"),
            ("rotate=90", "allowed are"),
        ] {
            let error = text.parse::<Transform>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(hint), "{text}: {error}");
        }
    }
}
