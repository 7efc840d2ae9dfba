//! unix sockets: the stream in clear, guarded by the file's permissions.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt, chown},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use rustix::{
    fs::Access as Permission,
    io::Errno,
    net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};

use crate::{
    connection::{
        Access, ConnectionError, Dialled, Group, Limits,
        framed::{Framed, Transport},
        inbox::{self, Inbox},
        socket::{Socket, SocketError, Stream},
    },
    shutdown::Shutdown,
};

/// How much is read with one system call, in bytes.
const READ: usize = 4096;

/// Connects, or fails at once: a node whose queue is full is busy, and is tried again later.
pub(super) fn connect(path: &Path) -> Result<UnixStream, ConnectionError> {
    try_connect(path).map_err(|source| ConnectionError::Connect {
        address: path.display().to_string(),
        source,
    })
}

/// Binds the socket and waits for the node, for as long as it takes or until shutdown. The socket is gone when
/// this returns, so that nobody waits in its queue.
pub(super) fn accept(
    path: &Path,
    access: &Access,
    shutdown: &Shutdown,
) -> Result<UnixStream, ConnectionError> {
    let failed = failed_at(path);
    let group = group_of(path, access)?;
    if let Place::Stale = place(path)? {
        fs::remove_file(path).map_err(&failed)?;
    }
    let (listener, _bound) = bind(path, access.mode, group).map_err(&failed)?;
    let listener = Arc::new(listener);
    let blocked = Arc::clone(&listener);
    let _registration = shutdown.on_request(move || {
        // The kernel then ends a blocked accept, and refuses later ones.
        let _ = net::shutdown(&*blocked, net::Shutdown::Read);
    });
    let accepted = listener.accept();
    if shutdown.is_requested() {
        return Err(ConnectionError::Shutdown);
    }
    Ok(accepted.map_err(&failed)?.0)
}

/// Whether `accept` could bind the socket now. Nothing is changed, and whoever has it does not notice.
///
/// # Errors
/// What `accept` would say.
pub fn may_listen(path: &Path, access: &Access) -> Result<(), ConnectionError> {
    let failed = failed_at(path);
    group_of(path, access)?;
    SocketAddrUnix::new(path).map_err(|error| failed(error.into()))?;
    place(path)?;
    let directory = path.parent().unwrap_or(path);
    let wanted = Permission::WRITE_OK | Permission::EXEC_OK;
    rustix::fs::access(directory, wanted).map_err(|error| failed(error.into()))
}

/// A connection over a connected stream.
pub(super) fn establish(
    stream: UnixStream,
    limits: Limits,
    shutdown: Option<&Shutdown>,
) -> Result<Dialled, ConnectionError> {
    let socket = Socket::new(Stream::Unix(stream), limits.idle, limits.write, shutdown)?;
    let transport = Plain {
        socket,
        buffer: Box::new([0; READ]),
        out: Vec::with_capacity(READ),
    };
    Ok(Dialled {
        connection: Box::new(Framed::new(transport, limits)),
        peer: None,
        generation: None,
    })
}

/// The stream in clear.
struct Plain {
    socket: Socket,
    buffer: Box<[u8; READ]>,
    out: Vec<u8>,
}

impl Transport for Plain {
    fn receive(&mut self, inbox: &mut Inbox, deadline: Instant) -> Result<(), SocketError> {
        let count = self.socket.read(self.buffer.as_mut_slice(), deadline)?;
        inbox.push(self.buffer.get(..count).unwrap_or_default());
        Ok(())
    }

    fn has_more(&self) -> bool {
        self.socket.has_more()
    }

    fn send(&mut self, prefix: &[u8], body: &[u8], deadline: Instant) -> Result<(), SocketError> {
        self.out.clear();
        self.out.extend_from_slice(prefix);
        self.out.extend_from_slice(body);
        self.socket.write(&self.out, deadline)?;
        if self.out.capacity() > 4 * inbox::KEPT {
            self.out = Vec::with_capacity(READ);
        }
        Ok(())
    }

    fn linger(&mut self, until: Instant) -> Result<(), SocketError> {
        self.socket.linger(until)
    }
}

/// Takes the socket's file away.
struct Bound(PathBuf);

impl Drop for Bound {
    fn drop(&mut self) {
        // Somebody may have done so already.
        let _ = fs::remove_file(&self.0);
    }
}

/// A blocking `connect` waits for ever for a place in a full queue, so this one does not block.
fn try_connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Nobody can connect between `bind` and `listen`, so that the permissions are never wider than they should be.
fn bind(path: &Path, mode: u32, group: Option<u32>) -> io::Result<(UnixListener, Bound)> {
    let flags = SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let bound = Bound(path.into());
    // Another group first: the kernel may take permissions away when the owner changes.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    if let Some(group) = group {
        chown(path, None, Some(group))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    net::listen(&socket, 1)?;
    Ok((UnixListener::from(socket), bound))
}

/// The number of the socket's group, from its line in `/etc/group`: `name:password:number:members`.
fn group_of(path: &Path, access: &Access) -> Result<Option<u32>, ConnectionError> {
    let name = match &access.group {
        None => return Ok(None),
        Some(Group::Id(id)) => return Ok(Some(*id)),
        Some(Group::Name(name)) => name,
    };
    let groups = fs::read_to_string("/etc/group").map_err(failed_at(path))?;
    let number = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name.as_str());
        found.then(|| fields.nth(1)?.parse().ok())?
    });
    let none = || ConnectionError::NoGroup { name: name.clone() };
    number.map(Some).ok_or_else(none)
}

fn failed_at(path: &Path) -> impl Fn(io::Error) -> ConnectionError {
    move |source| ConnectionError::Listen {
        path: path.into(),
        source,
    }
}

/// What is where a socket is to be bound.
enum Place {
    Free,
    /// The socket of a process that is gone.
    Stale,
}

/// An error where something stands that is not to be removed.
fn place(path: &Path) -> Result<Place, ConnectionError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::Free),
        Err(error) => return Err(failed_at(path)(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ConnectionError::NotASocket { path: path.into() });
        }
        Ok(_) => {}
    }
    match is_bound(path) {
        Ok(false) => Ok(Place::Stale),
        Ok(true) => Err(ConnectionError::SocketInUse { path: path.into() }),
        // It may have gone on its own.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::Free),
        Err(error) => Err(failed_at(path)(error)),
    }
}

/// Whether a process has the socket, found out without its notice: a signer takes the first that connects for its node. A
/// datagram does not go into a stream, and the kernel says so only where somebody is there.
fn is_bound(path: &Path) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    match net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => Ok(false),
        Ok(()) | Err(Errno::PROTOTYPE) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
