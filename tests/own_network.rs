//! The example of a network of one's own, on the emulator and on the CPU.

use std::sync::Arc;

use dctflow::ImageError;
use dctflow::device::Device;
use dctflow::device::emulator::{Emulator, Schedule};
use dctflow::synth::photo;

#[allow(dead_code)] // its `main`
#[path = "../examples/own_network.rs"]
mod own_network;

#[test]
fn a_network_of_one_s_own_reads_the_same_on_a_device() {
    let device: Arc<dyn Device> = Emulator::with_schedule(Schedule::Random(1)).unwrap();
    let (first, second) = (photo(1, 0), photo(1, 1));
    let mut odd = first.clone();
    // The device gives such a file up.
    let place = (odd.len() / 2..).find(|&place| odd[place - 1] != 0xFF).unwrap();
    odd.splice(place..place, [0xFF, 0x01]);
    let files = [&first[..], b"text", &odd, &second];
    let on_cpu = own_network::on_cpu(&files).unwrap();
    let on_device = own_network::on_device(&device, &files).unwrap();
    assert_eq!(on_device.len(), files.len());
    for (seen, expected) in on_device.iter().zip(&on_cpu) {
        match (seen, expected) {
            // f16 beside f32.
            (Ok(seen), Ok(expected)) => assert!((seen - expected).abs() < 1e-3 && *seen > 0.0, "{seen} {expected}"),
            (seen, expected) => assert_eq!(seen, expected),
        }
    }
    assert!(on_device[0].is_ok() && on_device[3].is_ok());
    assert_eq!(on_device[1].as_ref().map_err(ImageError::code), Err("not-a-jpeg"));
}
