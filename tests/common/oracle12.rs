//! libjpeg-turbo 3, which reads 12-bit files: digests that it gave are committed, and the program that gives them
//! (`tests/oracle12`, built by `ci/oracle12.sh`) is asked where `DCTFLOW_ORACLE12` names it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// What the program says of one file.
pub struct Answer {
    /// SHA-256 in hexadecimal; `-` where libjpeg gave up.
    pub digest: String,
    pub num_warnings: u32,
}

/// The program, if it is there.
pub fn program() -> Option<OsString> {
    std::env::var_os("DCTFLOW_ORACLE12")
}

/// The program's answers about these files, in order.
pub fn ask(program: &OsString, files: &[Vec<u8>]) -> Vec<Answer> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let paths: Vec<PathBuf> = (0..files.len()).map(|i| folder.path().join(format!("{i}.jpg"))).collect();
    for (path, bytes) in paths.iter().zip(files) {
        std::fs::write(path, bytes).expect("a file in the temporary folder");
    }
    let output = Command::new(program).args(&paths).output().expect("DCTFLOW_ORACLE12 names a program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Answer> = String::from_utf8_lossy(&output.stdout).lines().map(parse).collect();
    assert_eq!(answers.len(), files.len(), "one line per file");
    answers
}

fn parse(line: &str) -> Answer {
    let mut fields = line.split('\t');
    let mut field = || fields.next().unwrap_or_else(|| panic!("too few fields: {line}"));
    let (digest, num_warnings) = (field().to_owned(), field());
    Answer { digest, num_warnings: num_warnings.parse().expect("a number of warnings") }
}

fn committed_path() -> PathBuf {
    super::root().join("tests/data/twelve_bit.tsv")
}

/// The committed digests by the names of their cases.
pub fn committed() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(committed_path()).expect("tests/data/twelve_bit.tsv");
    let pair = |line: &str| line.split_once('\t').map(|(name, digest)| (name.to_owned(), digest.to_owned()));
    text.lines().map(|line| pair(line).unwrap_or_else(|| panic!("no tab: {line}"))).collect()
}

/// Whether `DCTFLOW_REMAKE_DATA` asks for new committed digests.
pub fn is_remake() -> bool {
    std::env::var_os("DCTFLOW_REMAKE_DATA").is_some()
}

/// Writes the digests to be committed.
pub fn commit(digests: &BTreeMap<String, String>) {
    let text: String = digests.iter().map(|(name, digest)| format!("{name}\t{digest}\n")).collect();
    std::fs::write(committed_path(), text).expect("tests/data/twelve_bit.tsv");
}
