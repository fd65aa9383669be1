//! What a record says of the machine, and whether the machine had other things to do meanwhile. What cannot be found out is `None`.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use dctflow::session::DeviceChoice;

use super::record::{Gpu, Machine, Reason};

/// More than this share of the CPUs taken by others makes a measurement invalid.
const MAX_OTHERS_SHARE: f64 = 0.05;

/// More than this share of the CPUs taken by the hypervisor makes a measurement invalid.
const MAX_STOLEN_SHARE: f64 = 0.01;

/// `/proc/stat` counts in hundredths of a second on every Linux that can be met.
const TICKS_PER_SECOND: f64 = 100.0;

/// Whether the program was optimised.
pub fn build() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

/// The host.
pub fn machine() -> Machine {
    Machine {
        cpu: cpu_name(),
        cores: num_cores(),
        memory_bytes: kibibytes_of("/proc/meminfo", "MemTotal:"),
        os: os_name(),
        load_average: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn num_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The CPU's name as Linux tells it; elsewhere its architecture.
fn cpu_name() -> String {
    let info = read("/proc/cpuinfo");
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or(std::env::consts::ARCH.into(), |(_, name)| name.trim().into())
}

/// The kernel's name and release, and the distribution's name.
fn os_name() -> String {
    let release = read("/proc/sys/kernel/osrelease");
    let about = read("/etc/os-release");
    let distribution = about.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let parts = [std::env::consts::OS, release.trim(), distribution.unwrap_or_default().trim_matches('"')];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The value of a line `NAME   N kB`, in bytes.
fn kibibytes_of(path: &str, name: &str) -> Option<u64> {
    let text = read(path);
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

/// The most memory that this process held since [`reset_peak_memory`].
pub fn peak_memory_bytes() -> Option<u64> {
    kibibytes_of("/proc/self/status", "VmHWM:")
}

/// Begins a new peak. Where Linux does not allow it, the peak is that of the whole process.
pub fn reset_peak_memory() {
    // `5` resets the high-water mark; see proc(5), clear_refs.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The GPU of a device; null with a reason where none is used or nothing is known of it.
pub fn gpu(device: DeviceChoice, absent: &mut BTreeMap<String, String>) -> Option<Gpu> {
    let DeviceChoice::Cuda(index) = device else {
        absent.insert("gpu".into(), format!("the device is {device}"));
        return None;
    };
    let gpu = query_gpu(index);
    if gpu.is_none() {
        absent.insert("gpu".into(), "nvidia-smi did not answer".into());
    }
    gpu
}

fn query_gpu(index: u32) -> Option<Gpu> {
    const FIELDS: &str =
        "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,power.draw,temperature.gpu";
    let output = Command::new("nvidia-smi")
        .args([&format!("--id={index}"), &format!("--query-gpu={FIELDS}"), "--format=csv,noheader,nounits"])
        .output()
        .ok()?;
    parse_gpu(std::str::from_utf8(&output.stdout).ok()?)
}

fn parse_gpu(line: &str) -> Option<Gpu> {
    let mut fields = line.lines().next()?.split(", ");
    let mut text = || fields.next().map(|field| field.trim().to_string());
    let (name, driver) = (text()?, text()?);
    // `[N/A]` where the GPU does not say.
    let mut number = || text().and_then(|field| field.parse().ok());
    Some(Gpu {
        name,
        driver,
        sm_clock_mhz: number(),
        max_sm_clock_mhz: number(),
        memory_clock_mhz: number(),
        power_limit_watts: number(),
        power_draw_watts: number(),
        temperature_celsius: number(),
    })
}

/// A reading of the counters that tell who used the CPUs.
#[derive(Clone, Copy, Debug)]
pub struct CpuUse {
    at: Instant,
    own: ProcessTime,
    /// Seconds of all CPUs together: busy with anything, and taken by the hypervisor.
    system: Option<(f64, f64)>,
    throttled_us: Option<u64>,
}

impl CpuUse {
    pub fn now() -> Self {
        let throttled_us = cgroup_throttled_us();
        Self { at: Instant::now(), own: ProcessTime::now(), system: parse_stat(&read("/proc/stat")), throttled_us }
    }

    /// CPU time of this process since the reading.
    pub fn own_time(&self) -> Duration {
        self.own.elapsed()
    }

    /// What happened to the CPUs since the reading that makes a measurement doubtful.
    pub fn disturbances(&self) -> Vec<Reason> {
        let now = Self::now();
        let mut reasons = Vec::new();
        let capacity_s = now.at.duration_since(self.at).as_secs_f64() * num_cores() as f64;
        if let (Some((busy, stolen)), Some((busy_now, stolen_now))) = (self.system, now.system) {
            let own_s = self.own.elapsed().as_secs_f64();
            let others = (busy_now - busy - own_s) / capacity_s;
            if others > MAX_OTHERS_SHARE {
                let message = format!("other processes took {:.0} % of the CPUs", 100.0 * others);
                reasons.push(Reason::new("busy-machine", message));
            }
            let stolen = (stolen_now - stolen) / capacity_s;
            if stolen > MAX_STOLEN_SHARE {
                let message = format!("the hypervisor took {:.0} % of the CPUs", 100.0 * stolen);
                reasons.push(Reason::new("stolen-cpu", message));
            }
        }
        if let (Some(before), Some(after)) = (self.throttled_us, now.throttled_us)
            && after > before
        {
            let message = format!("the control group held the process back for {} ms", (after - before) / 1000);
            reasons.push(Reason::new("throttled-cpu", message));
        }
        reasons
    }
}

/// Busy and stolen seconds from the first line of `/proc/stat`: user nice system idle iowait irq softirq steal.
fn parse_stat(text: &str) -> Option<(f64, f64)> {
    let ticks: Vec<f64> =
        text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|n| n.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks[..] else { return None };
    Some(((user + nice + system + irq + softirq) / TICKS_PER_SECOND, steal / TICKS_PER_SECOND))
}

/// How long this process's control group was held back so far (cgroup v2, cpu.max).
fn cgroup_throttled_us() -> Option<u64> {
    let own = read("/proc/self/cgroup");
    let group = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let stat = read(&format!("/sys/fs/cgroup{}/cpu.stat", group.trim_end_matches('/')));
    stat.lines().find_map(|line| line.strip_prefix("throttled_usec "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_linux_are_read() {
        let text = "cpu  100 20 30 4000 50 6 7 80 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(parse_stat(text), Some((1.63, 0.8)));
        assert_eq!(parse_stat("intr 1"), None);
        assert_eq!(parse_stat("cpu  1 2"), None);
    }

    #[test]
    fn a_gpu_is_described_as_far_as_it_tells() {
        let gpu = parse_gpu("NVIDIA H200, 580.65.06, 1980, 1980, 3201, 700.00, [N/A], 34\n").unwrap();
        assert_eq!((gpu.name.as_str(), gpu.driver.as_str()), ("NVIDIA H200", "580.65.06"));
        assert_eq!((gpu.sm_clock_mhz, gpu.power_draw_watts), (Some(1980.0), None));
        assert_eq!(gpu.temperature_celsius, Some(34.0));
        assert!(parse_gpu("").is_none());
    }

    #[test]
    fn what_is_no_gpu_has_a_reason() {
        let mut absent = BTreeMap::new();
        assert!(gpu(DeviceChoice::Cpu, &mut absent).is_none());
        assert_eq!(absent["gpu"], "the device is cpu");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_of_the_machine() {
        let machine = machine();
        assert!(machine.cores > 0 && machine.memory_bytes > Some(1 << 20) && !machine.cpu.is_empty());
        assert!(peak_memory_bytes() > Some(1 << 16));
    }
}
