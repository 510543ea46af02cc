//! The part of a status that lasts, as a hash: two that are alike in it need not both be written.

use otelet_wire::status::Status;

/// A hash of the part of a status that lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Essence([u8; 32]);

/// Two that are alike in this need not both be written: a sum over all but what changes all the time. What was
/// written is not kept itself, with its thousand small texts.
pub fn essence(status: &Status) -> Essence {
    struct Sum(ring::digest::Context);
    impl std::io::Write for Sum {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut sum = Sum(ring::digest::Context::new(&ring::digest::SHA256));
    serde_json::to_writer(&mut sum, &status.lasting()).expect("maps with string keys and numbers only");
    Essence(sum.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
}
