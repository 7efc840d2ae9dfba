//! A disk whose power can be cut: what was not synced survives in any subset of 512-byte sectors, in any version.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{chain, key};
use crate::protection::{
    disk::Disk,
    rules::Record,
    store::file::{FileStore, Problem, header::Identity, lay_out, read_header, read_slots},
};

const SECTOR: usize = 512;

/// Handles share one disk, so that it outlives the process that is simulated to use it.
#[derive(Clone)]
pub(super) struct Simulated(Arc<Mutex<State>>);

pub(super) struct State {
    /// What a power cut leaves.
    durable: Vec<u8>,
    /// What a read sees.
    cache: Vec<u8>,
    /// What was written since the last sync, oldest first: sector number and content.
    pending: Vec<(usize, Vec<u8>)>,
    /// Calls so far.
    calls: usize,
    plan: Plan,
}

/// Which calls fail, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) first: usize,
    pub(super) fault: Fault,
    pub(super) for_ever: bool,
}

impl Plan {
    pub(super) const NOTHING: Self = Self {
        first: usize::MAX,
        fault: Fault::Os(0),
        for_ever: false,
    };
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// An error; of a sync, one that keeps everything waiting to be written.
    Os(i32),
    /// A sync that fails with an error and forgets that anything waits: reads still see it, the disk never will.
    SyncLies,
    /// A sync that fails with an error although everything got to the disk.
    SyncDoneYetFailed,
    /// A read or write of so many bytes at most.
    Short(usize),
}

impl Simulated {
    pub(super) fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State {
            durable: bytes.clone(),
            cache: bytes,
            pending: Vec::new(),
            calls: 0,
            plan: Plan::NOTHING,
        })))
    }

    /// A disk with a new record.
    pub(super) fn with_record(record: &Record) -> Self {
        Self::holding(lay_out(&chain(), &key(1), IDENTITY, record).unwrap())
    }

    pub(super) fn open(&self) -> Result<FileStore<Self>, Problem> {
        let path = Path::new("simulated");
        FileStore::resume(self.clone(), path, &chain(), Some(&key(1)), IDENTITY)
            .map(|(store, _)| store)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// From now on, the calls fail as planned; they are counted from 0 again.
    pub(super) fn plan(&self, plan: Plan) {
        let mut state = self.state();
        state.plan = plan;
        state.calls = 0;
    }

    pub(super) fn calls(&self) -> usize {
        self.state().calls
    }

    /// Cuts the power. `survives` is asked of each sector that waits, in the order of the writes.
    pub(super) fn cut_power(&self, mut survives: impl FnMut(usize) -> bool) {
        let mut state = self.state();
        for (number, (sector, content)) in
            std::mem::take(&mut state.pending).into_iter().enumerate()
        {
            if survives(number) {
                let at = sector * SECTOR;
                state.durable[at..at + SECTOR].copy_from_slice(&content);
            }
        }
        state.cache = state.durable.clone();
        state.plan = Plan::NOTHING;
    }

    /// How many sectors wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.state().pending.len()
    }

    /// The same disk, apart.
    pub(super) fn twin(&self) -> Self {
        let state = self.state();
        Self(Arc::new(Mutex::new(State {
            durable: state.durable.clone(),
            cache: state.cache.clone(),
            pending: state.pending.clone(),
            calls: 0,
            plan: Plan::NOTHING,
        })))
    }

    /// What the disk would hold after a power cut that nothing unsynced survives.
    pub(super) fn durable_record(&self) -> Record {
        read_record(&self.state().durable).unwrap()
    }

    pub(super) fn image(&self) -> Vec<u8> {
        self.state().durable.clone()
    }
}

pub(super) const IDENTITY: Identity = Identity {
    inode: 7,
    birth: Some((1, 2)),
};

/// The state that a record's bytes stand for.
pub(super) fn read_record(bytes: &[u8]) -> Result<Record, Problem> {
    let (_, header_crc) = read_header(bytes)?;
    Ok(read_slots(bytes, header_crc)?.record)
}

impl State {
    /// The fault of this call, if one is planned.
    fn fault(&mut self) -> Option<Fault> {
        let call = self.calls;
        self.calls += 1;
        let Plan {
            first,
            fault,
            for_ever,
        } = self.plan;
        (call == first || (for_ever && call > first)).then_some(fault)
    }
}

impl Disk for Simulated {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state();
        let limit = match state.fault() {
            None => usize::MAX,
            Some(Fault::Short(limit)) => limit,
            Some(Fault::Os(code)) => return Err(io::Error::from_raw_os_error(code)),
            Some(_) => return Err(io::ErrorKind::Other.into()),
        };
        let rest = &state.cache[usize::try_from(offset).unwrap()..];
        let len = rest.len().min(buffer.len()).min(limit);
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state();
        let len = match state.fault() {
            None => bytes.len(),
            Some(Fault::Short(limit)) => limit.min(bytes.len()),
            Some(Fault::Os(code)) => return Err(io::Error::from_raw_os_error(code)),
            Some(_) => return Err(io::ErrorKind::Other.into()),
        };
        let at = usize::try_from(offset).unwrap();
        state.cache[at..at + len].copy_from_slice(&bytes[..len]);
        for sector in at / SECTOR..(at + len).div_ceil(SECTOR) {
            let content = state.cache[sector * SECTOR..][..SECTOR].to_vec();
            state.pending.push((sector, content));
        }
        Ok(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.fault();
        match fault {
            Some(Fault::Os(code)) => return Err(io::Error::from_raw_os_error(code)),
            Some(Fault::SyncLies) => state.pending.clear(),
            // A sync has no length: the write's shortness is not its own.
            None | Some(Fault::SyncDoneYetFailed | Fault::Short(_)) => {
                for (sector, content) in std::mem::take(&mut state.pending) {
                    let at = sector * SECTOR;
                    state.durable[at..at + SECTOR].copy_from_slice(&content);
                }
            }
        }
        match fault {
            None | Some(Fault::Short(_)) => Ok(()),
            Some(_) => Err(io::Error::from_raw_os_error(5)),
        }
    }

    fn is_linked(&self) -> io::Result<bool> {
        match self.state().fault() {
            Some(Fault::Os(code)) => Err(io::Error::from_raw_os_error(code)),
            _ => Ok(true),
        }
    }

    /// The unkind system: it keeps what it has.
    fn forget_cache(&self) {}
}
