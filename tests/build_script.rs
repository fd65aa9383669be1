//! What the build makes of CUDA compilers that it finds but cannot use.

#![cfg(unix)]

#[path = "../build/nvcc.rs"]
mod nvcc;

use std::fs;
use std::os::unix::fs::PermissionsExt;

/// What `find_in_path` finds, and says, where `nvcc --version` is this shell script.
fn find(script: &str) -> (bool, Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("nvcc");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut said = None;
    let found = nvcc::find_in_path(folder.path().as_os_str(), |why| said = Some(why));
    assert!(found.as_ref().is_none_or(|found| *found == program));
    (found.is_some(), said)
}

#[test]
fn a_compiler_that_is_too_old_or_broken_is_passed_over_with_a_word() {
    let release = |release: &str| find(&format!("echo 'Cuda compilation tools, release {release}, V{release}.1'"));
    for good in ["12.0", "13.0", "14.2"] {
        assert_eq!(release(good), (true, None), "{good}");
    }
    for (script_result, part) in [
        (release("11.8"), "it is of CUDA 11.8, and 12.0 is needed"),
        (find("echo nothing"), "it does not say its release"),
        (find("exit 1"), "it does not run"),
    ] {
        let (is_found, said) = script_result;
        assert!(!is_found);
        assert!(said.as_ref().is_some_and(|said| said.contains(part)), "{said:?}");
    }
}

#[test]
fn no_compiler_is_nothing_to_speak_of() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(nvcc::find_in_path(folder.path().as_os_str(), |why| panic!("{why}")), None);
}
