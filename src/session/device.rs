//! Which backend a session runs on.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// What is asked for: `auto`, `cpu`, `cuda`, `cuda:N` or `emulator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DeviceChoice {
    /// A GPU where there is one that can be used, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this index.
    Cuda(u32),
    /// The GPU's kernels, executed on the CPU: for tests.
    Emulator,
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "emulator" => Ok(Self::Emulator),
            _ => name.strip_prefix("cuda:").and_then(|index| index.parse().ok()).map(Self::Cuda).ok_or_else(|| {
                let message = format!("no device `{name}`: say auto, cpu, cuda, cuda:N (N from 0) or emulator");
                Error::new(ErrorKind::Usage, message)
            }),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Emulator => f.write_str("emulator"),
        }
    }
}

/// What a choice came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Never `Auto`.
    pub kind: DeviceChoice,
    /// Why this one, as half a sentence.
    pub why: &'static str,
}

impl DeviceChoice {
    /// The device that this choice comes to on this machine and in this build.
    ///
    /// # Errors
    /// [`ErrorKind::KernelsNotBuilt`] if a device is named that this build cannot drive.
    pub fn resolve(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device { kind: Self::Cpu, why: "it was asked for" }),
            Self::Auto => {
                Ok(Device { kind: Self::Cpu, why: "the decoder and the networks run on the CPU in this version" })
            }
            Self::Cuda(_) | Self::Emulator => Err(Error::new(
                ErrorKind::KernelsNotBuilt,
                format!("nothing runs on the device {self} in this version: use --device cpu (or auto)"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["auto", "cpu", "cuda:0", "cuda:3", "emulator"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        for name in ["", "gpu", "cuda:", "cuda:-1", "cuda:x"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap_err().kind(), ErrorKind::Usage, "{name}");
        }
    }
}
