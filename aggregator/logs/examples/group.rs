//! Reads one message a line and prints the number of its group, as the miner assigned it on arrival.

use std::io::{self, BufRead, BufWriter, Write};

use nodescope_logs::Level;
use nodescope_logs::pattern::{Miner, MinerLimits};

fn main() -> io::Result<()> {
    let mut miner = Miner::new(MinerLimits::default());
    let mut output = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().split(b'\n') {
        let group = miner.observe(Level::Unknown, &line?);
        writeln!(output, "{}", group.index())?;
    }
    output.flush()
}
