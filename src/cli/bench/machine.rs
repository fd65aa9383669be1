//! What a record says of the machine, and whether the machine had other things to do meanwhile. What cannot be found out is `None`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::RangeInclusive;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use dctflow::session::{Device, DeviceChoice};

use super::record::{Gpu, GpuUse, Machine, Reason};
use super::stats::mean;

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
pub fn gpu(device: &Device, absent: &mut BTreeMap<String, String>) -> Option<Gpu> {
    if !matches!(device.kind, DeviceChoice::Cuda(_)) {
        absent.insert("gpu".into(), format!("the device is {}", device.kind));
        return None;
    }
    let gpu = query_gpu(device);
    if gpu.is_none() {
        absent.insert("gpu".into(), "nvidia-smi did not answer".into());
    }
    gpu
}

/// `nvidia-smi` about this GPU and no other: it counts all GPUs of the machine, and not as CUDA does.
fn nvidia_smi(device: &Device, fields: &str) -> Option<Command> {
    let id = device.handle.as_ref()?.info().pci_bus_id.clone()?;
    let mut command = Command::new("nvidia-smi");
    command.args([&format!("--id={id}"), &format!("--query-gpu={fields}"), "--format=csv,noheader,nounits"]);
    Some(command)
}

fn query_gpu(device: &Device) -> Option<Gpu> {
    const FIELDS: &str =
        "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,power.draw,temperature.gpu";
    let output = nvidia_smi(device, FIELDS)?.output().ok()?;
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

/// Watches a GPU, twice a second, until it is dropped.
pub struct GpuWatch {
    child: Child,
    samples: Arc<Mutex<Vec<(Instant, GpuSample)>>>,
}

/// One line of `nvidia-smi`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct GpuSample {
    sm_clock_mhz: Option<f64>,
    memory_clock_mhz: Option<f64>,
    power_watts: Option<f64>,
    temperature_celsius: Option<f64>,
    /// Bits of `nvmlClocksEventReasons`.
    reasons: u64,
}

/// Bits, names, and whether a measurement is doubtful for it: a power limit is the board's own, and part of what it can do.
const THROTTLE_REASONS: [(u64, &str, bool); 5] = [
    (0x04, "sw_power_cap", false),
    (0x08, "hw_slowdown", true),
    (0x20, "sw_thermal_slowdown", true),
    (0x40, "hw_thermal_slowdown", true),
    (0x80, "hw_power_brake_slowdown", true),
];

impl GpuWatch {
    /// `None` where there is no GPU, or no `nvidia-smi`.
    pub fn start(device: &Device) -> Option<Self> {
        const FIELDS: &str = "clocks.sm,clocks.mem,power.draw,temperature.gpu,clocks_event_reasons.active";
        let mut command = nvidia_smi(device, FIELDS)?;
        command.arg("--loop-ms=500");
        Self::of(command)
    }

    fn of(mut command: Command) -> Option<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let lines = BufReader::new(child.stdout.take()?).lines();
        let samples = Arc::<Mutex<Vec<_>>>::default();
        let shared = Arc::clone(&samples);
        let read = move || {
            for sample in lines.map_while(std::result::Result::ok).filter_map(|line| GpuSample::parse(&line)) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), sample));
            }
        };
        // It ends with the child's output.
        std::thread::Builder::new().name("nvidia-smi".into()).spawn(read).ok()?;
        Some(Self { child, samples })
    }

    /// What was seen since then. `None`: nothing.
    pub fn since(&self, start: Instant) -> Option<GpuUse> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let seen: Vec<GpuSample> = samples.iter().filter(|(at, _)| *at >= start).map(|(_, sample)| *sample).collect();
        drop(samples);
        let values = |field: fn(&GpuSample) -> Option<f64>| seen.iter().filter_map(field).collect::<Vec<f64>>();
        let some = |values: &[f64], of: fn(&[f64]) -> f64| (!values.is_empty()).then(|| of(values));
        let most: fn(&[f64]) -> f64 = |values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least: fn(&[f64]) -> f64 = |values| values.iter().copied().fold(f64::INFINITY, f64::min);
        let (sm, memory) = (values(|sample| sample.sm_clock_mhz), values(|sample| sample.memory_clock_mhz));
        let (power, heat) = (values(|sample| sample.power_watts), values(|sample| sample.temperature_celsius));
        let reasons = seen.iter().fold(0, |all, sample| all | sample.reasons);
        let names = THROTTLE_REASONS.iter().filter(|(bit, ..)| reasons & bit != 0).map(|(_, name, _)| (*name).into());
        (!seen.is_empty()).then(|| GpuUse {
            samples: seen.len() as u64,
            sm_clock_mhz_min: some(&sm, least),
            sm_clock_mhz_mean: some(&sm, mean),
            memory_clock_mhz_mean: some(&memory, mean),
            power_watts_mean: some(&power, mean),
            power_watts_max: some(&power, most),
            temperature_celsius_max: some(&heat, most),
            throttle_reasons: names.collect(),
        })
    }
}

impl Drop for GpuWatch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl GpuSample {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [sm, memory, power, temperature, reasons] = fields[..] else { return None };
        let reasons = reasons.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        Some(Self {
            sm_clock_mhz: sm.parse().ok(),
            memory_clock_mhz: memory.parse().ok(),
            power_watts: power.parse().ok(),
            temperature_celsius: temperature.parse().ok(),
            reasons: reasons.unwrap_or(0),
        })
    }
}

/// What of a GPU's use makes a measurement doubtful.
pub fn gpu_doubt(used: &GpuUse) -> Option<Reason> {
    let is_doubt = |name: &&String| THROTTLE_REASONS.iter().any(|(_, known, doubtful)| known == *name && *doubtful);
    let names: Vec<&str> = used.throttle_reasons.iter().filter(is_doubt).map(String::as_str).collect();
    let message = format!("the GPU's clocks were held down: {}", names.join(", "));
    (!names.is_empty()).then(|| Reason::new("throttled-gpu", message))
}

/// A reading of the counters that tell who used the CPUs.
#[derive(Clone, Copy, Debug)]
pub struct CpuUse {
    at: Instant,
    own: ProcessTime,
    /// Of the CPUs that this process may use.
    system: Option<SystemUse>,
    throttled_us: Option<u64>,
}

impl CpuUse {
    pub fn now() -> Self {
        let throttled_us = cgroup_throttled_us();
        let system = parse_stat(&read("/proc/stat"), &allowed_cpus(&read("/proc/self/status")));
        Self { at: Instant::now(), own: ProcessTime::now(), system, throttled_us }
    }

    /// CPU time of this process since the reading.
    pub fn own_time(&self) -> Duration {
        self.own.elapsed()
    }

    /// What happened to the CPUs since the reading that makes a measurement doubtful.
    pub fn disturbances(&self) -> Vec<Reason> {
        let now = Self::now();
        let mut reasons = Vec::new();
        if let (Some(before), Some(after)) = (self.system, now.system) {
            let capacity_s = now.at.duration_since(self.at).as_secs_f64() * f64::from(after.num_cpus.max(1));
            let own_s = self.own.elapsed().as_secs_f64();
            let others = (after.busy_s - before.busy_s - own_s) / capacity_s;
            if others > MAX_OTHERS_SHARE {
                let message = format!("other processes took {:.0} % of the CPUs", 100.0 * others);
                reasons.push(Reason::new("busy-machine", message));
            }
            let stolen = (after.stolen_s - before.stolen_s) / capacity_s;
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

/// What happened to some CPUs so far, all together.
#[derive(Clone, Copy, Debug, PartialEq)]
struct SystemUse {
    num_cpus: u32,
    /// With anything.
    busy_s: f64,
    /// Taken by the hypervisor.
    stolen_s: f64,
}

/// From the lines `cpuN user nice system idle iowait irq softirq steal` of `/proc/stat`, of those CPUs that are allowed: the file tells of the
/// whole host, also where this process has a part of it. Without a list, all.
fn parse_stat(text: &str, allowed: &[RangeInclusive<u32>]) -> Option<SystemUse> {
    let mut sum = SystemUse { num_cpus: 0, busy_s: 0.0, stolen_s: 0.0 };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(cpu) = words.next().and_then(|name| name.strip_prefix("cpu")?.parse::<u32>().ok()) else { continue };
        if !allowed.is_empty() && !allowed.iter().any(|range| range.contains(&cpu)) {
            continue;
        }
        let ticks: Vec<f64> = words.map_while(|n| n.parse().ok()).collect();
        let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = ticks[..] else { return None };
        sum.num_cpus += 1;
        sum.busy_s += (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
        sum.stolen_s += steal / TICKS_PER_SECOND;
    }
    (sum.num_cpus > 0).then_some(sum)
}

/// The line `Cpus_allowed_list: 0-3,8` of `/proc/self/status`.
fn allowed_cpus(status: &str) -> Vec<RangeInclusive<u32>> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    list.trim().split(',').filter_map(range).collect()
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
        let text = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 20 30 4000 50 6 7 80 9 10\ncpu1 100 0 0 0 0 0 0 20\ncpu11 1 0 0 0 0 0 0 0\nintr 1";
        let parse_stat = |text: &str, allowed: &[RangeInclusive<u32>]| {
            let SystemUse { num_cpus, busy_s, stolen_s } = parse_stat(text, allowed)?;
            Some((num_cpus, (busy_s * TICKS_PER_SECOND).round(), (stolen_s * TICKS_PER_SECOND).round()))
        };
        assert_eq!(parse_stat(text, &[]), Some((3, 264.0, 100.0)));
        assert_eq!(parse_stat(text, &[0..=0]), Some((1, 163.0, 80.0)), "others have the rest of the host");
        assert_eq!(parse_stat(text, &[1..=1, 11..=11]), Some((2, 101.0, 20.0)));
        assert_eq!(parse_stat("intr 1", &[]), None);
        assert_eq!(parse_stat("cpu0  1 2", &[]), None);
        assert_eq!(allowed_cpus("Cpus_allowed:\tff\nCpus_allowed_list:\t0-3,8\n"), [0..=3, 8..=8]);
        assert_eq!(allowed_cpus("Name: x"), []);
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
    #[cfg(unix)]
    fn a_gpu_is_watched_while_it_works() {
        let start = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "echo '1980, 3201, 500.0, 40, 0x0000000000000000'; echo '1500, 3201, [N/A], 60, 0x0000000000000024'; echo x; sleep 60"]);
        let watch = GpuWatch::of(command).unwrap();
        while watch.since(start).is_none_or(|used| used.samples < 2) {
            assert!(start.elapsed() < Duration::from_secs(20), "two lines were written");
            std::thread::sleep(Duration::from_millis(5));
        }
        let used = watch.since(start).unwrap();
        assert_eq!((used.samples, used.sm_clock_mhz_min, used.sm_clock_mhz_mean), (2, Some(1500.0), Some(1740.0)));
        assert_eq!((used.power_watts_mean, used.temperature_celsius_max), (Some(500.0), Some(60.0)));
        assert_eq!(used.throttle_reasons, ["sw_power_cap", "sw_thermal_slowdown"]);
        let doubt = gpu_doubt(&used).unwrap();
        assert!(doubt.code == "throttled-gpu" && doubt.message.ends_with("down: sw_thermal_slowdown"), "{doubt:?}");
        assert!(watch.since(Instant::now()).is_none());
    }

    #[test]
    fn what_is_no_gpu_has_a_reason() {
        let mut absent = BTreeMap::new();
        assert!(gpu(&DeviceChoice::Cpu.resolve().unwrap(), &mut absent).is_none());
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
