//! Which device does the work.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::device;
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
#[derive(Clone, Debug)]
pub struct Device {
    /// Never `Auto`.
    pub kind: DeviceChoice,
    /// Why this one, as half a sentence.
    pub why: String,
    /// The device, open. The CPU is none.
    pub handle: Option<Arc<dyn device::Device>>,
}

impl Device {
    fn cpu(why: impl Into<String>) -> Self {
        Self { kind: DeviceChoice::Cpu, why: why.into(), handle: None }
    }

    fn open(kind: DeviceChoice, handle: Arc<dyn device::Device>) -> Self {
        Self { kind, why: handle.info().name.clone(), handle: Some(handle) }
    }
}

impl DeviceChoice {
    /// The device that this choice comes to on this machine and in this build. `auto` takes the first GPU if it can be opened,
    /// else the CPU.
    ///
    /// # Errors
    /// Where a device is named: [`ErrorKind::KernelsNotBuilt`] if this build has no kernels for it;
    /// [`ErrorKind::NoDriver`], [`ErrorKind::NoDevice`], [`ErrorKind::OutOfMemory`] and [`ErrorKind::Device`] if it cannot be opened.
    pub fn resolve(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::cpu("it was asked for")),
            Self::Auto => {
                let kind = Self::Cuda(0);
                Ok(open_cuda(0).map_or_else(|e| Device::cpu(e.to_string()), |gpu| Device::open(kind, gpu)))
            }
            Self::Cuda(index) => Ok(Device::open(self, open_cuda(index)?)),
            Self::Emulator => Ok(Device::open(self, open_emulator()?)),
        }
    }
}

#[cfg(feature = "cuda")]
fn open_cuda(index: u32) -> Result<Arc<dyn device::Device>> {
    Ok(device::cuda::Cuda::open(index)?)
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(_index: u32) -> Result<Arc<dyn device::Device>> {
    Err(Error::new(ErrorKind::KernelsNotBuilt, "this build drives no GPU: build it with the feature `cuda`"))
}

#[cfg(feature = "emulator")]
fn open_emulator() -> Result<Arc<dyn device::Device>> {
    Ok(device::emulator::Emulator::new(device::emulator::EmulatorOptions::default())?)
}

#[cfg(not(feature = "emulator"))]
fn open_emulator() -> Result<Arc<dyn device::Device>> {
    let message = "this build has no emulator: build it with `cargo build --features emulator` (needs a C++ compiler)";
    Err(Error::new(ErrorKind::KernelsNotBuilt, message))
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

    #[test]
    fn auto_always_finds_something_and_says_why() {
        let device = DeviceChoice::Auto.resolve().unwrap();
        assert_eq!(device.handle.is_none(), device.kind == DeviceChoice::Cpu);
        assert!(device.kind != DeviceChoice::Auto && !device.why.is_empty());
    }

    #[test]
    fn a_named_device_is_opened_or_refused() {
        let emulator = DeviceChoice::Emulator.resolve().unwrap();
        assert_eq!(emulator.handle.unwrap().info().backend, device::Backend::Emulator);
        // No machine has so many.
        let absent = DeviceChoice::Cuda(4000).resolve().unwrap_err();
        use ErrorKind::{KernelsNotBuilt, NoDevice, NoDriver};
        assert!([KernelsNotBuilt, NoDevice, NoDriver].contains(&absent.kind()), "{absent}");
    }
}
