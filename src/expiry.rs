//! The expiration thread: one for the process, a shell around what queues do at a given moment.
//!
//! It sleeps until the next deadline that a queue has told it of; an earlier one reaches it through its channel. It
//! starts when it is first needed. Queues that are gone take their entry along.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::state::NEVER;
use crate::sync::{Mutex, Threads, hold, lock, release};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

/// Something that has to be looked at, at certain moments.
pub(crate) trait Serviced: Send + Sync {
    /// Does what is due, and says when it has to be looked at next (monotonic nanoseconds), or NEVER. Lets go of what may
    /// be the last reference to it.
    fn service(self: Arc<Self>) -> u64;
}

enum Command {
    /// Look at this one at that moment.
    Arm(u64, u64, Weak<dyn Serviced>),
    /// This one is gone.
    Forget(u64),
    /// Something to do that nobody should wait for.
    Run(Box<dyn FnOnce() + Send>),
    /// End.
    Stop,
}

#[derive(Debug)]
enum Thread {
    /// Not needed yet.
    Idle,
    /// At work; the receiver tells when it has ended.
    Running(Sender<Command>, Receiver<()>),
    /// The process ends: nothing starts it again.
    Stopped,
}

static THREAD: Mutex<Thread> = Mutex::new(Thread::Idle);

/// Runs the whole life of the thread.
type Surroundings = fn(&mut (dyn FnMut() + Send));

/// What the thread lives in, where that is not just Rust.
static SURROUNDINGS: OnceLock<Surroundings> = OnceLock::new();

/// Has the thread live inside of `surroundings`. Only the first call counts.
pub(crate) fn surround(surroundings: Surroundings) {
    let _ = SURROUNDINGS.set(surroundings);
}

/// Sends a command; false where there is no thread and none can be started.
fn send(command: Command) -> bool {
    let mut state = lock::<Threads, _>(&THREAD);
    if let Thread::Idle = *state {
        let (sender, receiver) = unbounded();
        let (end, ended) = bounded(1);
        let started = thread::Builder::new().name("mpmc-queue expiration".into()).spawn(move || {
            IS_HERE.set(true);
            match SURROUNDINGS.get() {
                Some(surroundings) => surroundings(&mut || run(&receiver)),
                None => run(&receiver),
            }
            let _ = end.send(());
        });
        if started.is_err() {
            return false;
        }
        *state = Thread::Running(sender, ended);
    }
    match &*state {
        Thread::Running(sender, _) => sender.send(command).is_ok(),
        _ => false,
    }
}

/// Asks for a look at `id` at the given moment.
pub(crate) fn arm(id: u64, at: u64, target: Weak<dyn Serviced>) -> bool {
    send(Command::Arm(id, at, target))
}

/// Forgets `id`.
pub(crate) fn forget(id: u64) {
    if let Thread::Running(sender, _) = &*lock::<Threads, _>(&THREAD) {
        let _ = sender.send(Command::Forget(id));
    }
}

/// Runs something on the expiration thread. False: it can't, and the command was dropped.
pub(crate) fn run_there(command: Box<dyn FnOnce() + Send>) -> bool {
    send(Command::Run(command))
}

/// Ends the thread for good, and waits a while until it has ended.
pub(crate) fn stop(patience: Duration) {
    let before = std::mem::replace(&mut *lock::<Threads, _>(&THREAD), Thread::Stopped);
    if let Thread::Running(sender, ended) = before {
        let _ = sender.send(Command::Stop);
        let _ = ended.recv_timeout(patience);
    }
}

thread_local! {
    static IS_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is the expiration thread.
pub(crate) fn is_here() -> bool {
    IS_HERE.get()
}

/// Keeps the thread's state still over a fork; [`after_fork`] lets go of it.
pub(crate) fn before_fork() {
    hold::<Threads, _>(&THREAD);
}

/// Lets go of the state again; a child has no such thread, and starts its own when it needs one.
pub(crate) fn after_fork(in_child: bool) {
    release(&THREAD);
    let mut state = lock::<Threads, _>(&THREAD);
    if in_child && let Thread::Running(sender, ended) = std::mem::replace(&mut *state, Thread::Idle) {
        // The parent's: its other end is a thread that does not exist here, perhaps in the middle of something.
        std::mem::forget(sender);
        std::mem::forget(ended);
    }
}

fn run(commands: &Receiver<Command>) {
    let mut targets: HashMap<u64, (u64, Weak<dyn Serviced>)> = HashMap::new();
    let mut moments: BTreeSet<(u64, u64)> = BTreeSet::new();
    loop {
        let command = match moments.first() {
            Some(&(at, _)) => commands.recv_deadline(clock::instant(at)),
            None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match command {
            Ok(Command::Arm(id, at, target)) => {
                if let Some((before, _)) = targets.insert(id, (at, target)) {
                    moments.remove(&(before, id));
                }
                moments.insert((at, id));
            }
            Ok(Command::Forget(id)) => {
                if let Some((at, _)) = targets.remove(&id) {
                    moments.remove(&(at, id));
                }
            }
            Ok(Command::Run(command)) => command(),
            Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let Some((at, id)) = moments.pop_first() else { continue };
                if at > clock::Clock::System.now().mono {
                    moments.insert((at, id));
                    continue;
                }
                let Some((_, target)) = targets.remove(&id) else { continue };
                let Some(queue) = target.upgrade() else { continue };
                let next = queue.service();
                if next != NEVER {
                    targets.insert(id, (next, target));
                    moments.insert((next, id));
                }
            }
        }
    }
}
