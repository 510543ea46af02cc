//! A tap on the connections between an agent and a server on loopback: it counts the bytes that TCP carries on each.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::host::wait_for;

/// The bytes of one connection, which for the agent is one exchange.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    pub sent: usize,
    pub received: usize,
}

/// The connections in the order in which they began, each with its bytes once it has ended.
type AllTraffic = Vec<Option<Traffic>>;

/// The tap; dropping it ends it.
pub struct Tap {
    addr: SocketAddr,
    carried: Arc<Mutex<AllTraffic>>,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Tap {
    /// A tap before the server at this URL, and the URL at which the agent finds it.
    pub fn on(url: &str) -> (Self, String) {
        let rest = url.strip_prefix("http://").expect("the tap reads unencrypted connections only");
        let (authority, path) = rest.split_once('/').expect("a path");
        let server: SocketAddr = authority.parse().expect("an address with a port");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let (carried, stopping) = (Arc::<Mutex<AllTraffic>>::default(), Arc::<AtomicBool>::default());
        let accepting = thread::spawn({
            let (carried, stopping) = (Arc::clone(&carried), stopping.clone());
            move || {
                for agent in listener.incoming().map_while(Result::ok) {
                    if stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let carried = Arc::clone(&carried);
                    let number = {
                        let mut carried = carried.lock().unwrap();
                        carried.push(None);
                        carried.len() - 1
                    };
                    thread::spawn(move || {
                        if let Some(done) = carry(agent, server) {
                            carried.lock().unwrap()[number] = Some(done);
                        }
                    });
                }
            }
        });
        (Self { addr, carried, stopping, accepting: Some(accepting) }, format!("http://{addr}/{path}"))
    }

    /// Waits for this many more exchanges that begin from now on, and returns them.
    pub fn more(&self, count: usize) -> Vec<Traffic> {
        let look = || self.carried.lock().unwrap().clone();
        let before = look().len();
        let ended = || look().into_iter().skip(before).take(count).collect::<Option<Vec<Traffic>>>();
        let far_enough = || ended().filter(|carried| carried.len() == count);
        wait_for("more exchanges on the wire", far_enough, || format!("{:?}", look()))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees that the tap has ended.
        let _ = TcpStream::connect(self.addr);
        let _ = self.accepting.take().expect("dropped once").join();
    }
}

fn carry(agent: TcpStream, server: SocketAddr) -> Option<Traffic> {
    let server = TcpStream::connect(server).ok()?;
    let (from, to) = (agent.try_clone().unwrap(), server.try_clone().unwrap());
    let sending = thread::spawn(move || copy(from, to));
    let received = copy(server, agent);
    Some(Traffic { sent: sending.join().unwrap(), received })
}

/// Passes bytes on until the end, and returns their number.
fn copy(mut from: TcpStream, mut to: TcpStream) -> usize {
    let (mut count, mut buffer) = (0, [0; 4096]);
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        count += length;
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Either side may have closed its connection already.
    let _ = to.shutdown(Shutdown::Write);
    count
}
