//! A node's RPC, as much of it as the tests ask: HTTP/1.0 and JSON over its unix socket.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use serde_json::Value;

/// A node's RPC socket. No port is needed for it, so none can collide.
#[derive(Clone, Debug)]
pub struct Rpc {
    /// Where the node binds it.
    pub socket: PathBuf,
}

/// What a committed block says about its making.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Commit {
    /// Round in which it was committed.
    pub round: i64,
    /// Block hash, hex.
    pub hash: String,
    /// Addresses of those who signed for the block, hex.
    pub signers: Vec<String>,
}

impl Rpc {
    /// The `result` of one GET, or `None` while the node is not there or has no answer yet.
    pub fn get(&self, path: &str) -> Option<Value> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: node\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        let (_, body) = reply.split_once("\r\n\r\n")?;
        let mut body: Value = serde_json::from_str(body).ok()?;
        match body.get_mut("result")?.take() {
            Value::Null => None,
            result => Some(result),
        }
    }

    /// The height of the newest block; `None` while the node is not there, 0 before the first block.
    pub fn height(&self) -> Option<i64> {
        number(
            self.get("/status")?
                .pointer("/sync_info/latest_block_height")?,
        )
    }

    /// The commit of `height`.
    pub fn commit(&self, height: i64) -> Option<Commit> {
        let result = self.get(&format!("/commit?height={height}"))?;
        let commit = result.pointer("/signed_header/commit")?;
        if let Some(votes) = commit.get("precommits") {
            return old_commit(commit, votes.as_array()?);
        }
        let signatures = commit.get("signatures")?.as_array()?;
        Some(Commit {
            round: number(commit.get("round")?)?,
            hash: commit.pointer("/block_id/hash")?.as_str()?.to_owned(),
            signers: signatures
                .iter()
                // Flag 2: voted for the block; 1 is absent, 3 is nil.
                .filter(|signature| signature.get("block_id_flag").and_then(number) == Some(2))
                .filter_map(|signature| signature.get("validator_address")?.as_str())
                .map(str::to_owned)
                .collect(),
        })
    }

    /// How many pieces of evidence of misbehaviour the block of `height` carries.
    pub fn evidence(&self, height: i64) -> Option<usize> {
        let result = self.get(&format!("/block?height={height}"))?;
        match result.pointer("/block/evidence/evidence")? {
            Value::Null => Some(0),
            list => Some(list.as_array()?.len()),
        }
    }
}

/// Up to v0.32 a commit is the precommits themselves, those for other blocks and for nil among them.
fn old_commit(commit: &Value, votes: &[Value]) -> Option<Commit> {
    let block = commit.get("block_id")?;
    let votes: Vec<&Value> = votes.iter().filter(|vote| !vote.is_null()).collect();
    Some(Commit {
        round: number(votes.first()?.get("round")?)?,
        hash: block.get("hash")?.as_str()?.to_owned(),
        signers: votes
            .iter()
            .filter(|vote| vote.get("block_id") == Some(block))
            .filter_map(|vote| vote.get("validator_address")?.as_str())
            .map(str::to_owned)
            .collect(),
    })
}

/// Go's JSON writes 64-bit numbers as strings and smaller ones as numbers.
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    }
}
