//! The same with the kernel itself: a pedal that uinput makes, and a line of gpio-sim, on machines where one may make them.
//!
//! Run by hand, as root: `modprobe uinput gpio-sim; cargo run -p turnstage-drivers --example kernel_contacts`. It says
//! what it could not try here. Everywhere else `hw-tests/tests/contacts` does this on devices that are not there.

use std::error::Error;
use std::path::{Path, PathBuf};

use evdev::uinput::VirtualDevice;
use evdev::{AttributeSet, InputEvent, KeyCode, KeyEvent};
use turnstage_drivers::io::{Input, Signal, open_input};
use turnstage_drivers::{DeviceOptions, Surroundings};

type Done = Result<(), Box<dyn Error>>;

const SIM: &str = "/sys/kernel/config/gpio-sim";
const LABEL: &str = "turnstage-sim";

async fn opened(keys: &str) -> Result<Box<dyn Input>, Box<dyn Error>> {
    let options: DeviceOptions = toml::from_str(keys)?;
    Ok(open_input("left", &options, &Surroundings::default()).await?)
}

async fn hears(input: &mut Box<dyn Input>, wanted: Signal) -> Done {
    let heard = input.next().await?;
    if heard == wanted { Ok(()) } else { Err(format!("{wanted:?} was due, {heard:?} was heard").into()) }
}

fn key(pedal: &mut VirtualDevice, down: i32) -> std::io::Result<()> {
    let event: InputEvent = *KeyEvent::new(KeyCode::KEY_A, down);
    pedal.emit(&[event])
}

async fn pedal(mut pedal: VirtualDevice) -> Done {
    let node = pedal.enumerate_dev_nodes_blocking()?.next().ok_or("it has no node")??;
    let link = std::env::temp_dir().join(format!("pedal-{}", std::process::id()));
    std::os::unix::fs::symlink(node, &link)?;
    let mut input = opened(&format!("driver = \"evdev\"\ndevice = {:?}", link.display().to_string())).await?;
    std::fs::remove_file(link)?;
    hears(&mut input, Signal::Released).await?;
    key(&mut pedal, 1)?;
    hears(&mut input, Signal::Pressed).await?;
    key(&mut pedal, 0)?;
    hears(&mut input, Signal::Released).await?;
    drop(pedal);
    if input.next().await.is_ok() { Err("it is unplugged and not lost".into()) } else { Ok(()) }
}

/// Makes a chip; the file that pulls its line 3.
fn chip(folder: &Path) -> std::io::Result<PathBuf> {
    let bank = folder.join("bank");
    std::fs::create_dir_all(&bank)?;
    std::fs::write(bank.join("num_lines"), "8")?;
    std::fs::write(bank.join("label"), LABEL)?;
    std::fs::write(folder.join("live"), "1")?;
    let device = std::fs::read_to_string(folder.join("dev_name"))?;
    let name = std::fs::read_to_string(bank.join("chip_name"))?;
    Ok(Path::new("/sys/devices/platform").join(device.trim()).join(name.trim()).join("sim_gpio3/pull"))
}

async fn line(pull: &Path) -> Done {
    std::fs::write(pull, "pull-down")?;
    let mut input = opened(&format!("driver = \"gpio\"\nchip = \"{LABEL}\"\nline = 3")).await?;
    hears(&mut input, Signal::Released).await?;
    std::fs::write(pull, "pull-up")?;
    hears(&mut input, Signal::Pressed).await?;
    std::fs::write(pull, "pull-down")?;
    hears(&mut input, Signal::Released).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done {
    let keys: AttributeSet<KeyCode> = [KeyCode::KEY_A].into_iter().collect();
    let made = VirtualDevice::builder()
        .and_then(|builder| builder.name("turnstage pedal").with_keys(&keys)?.build());
    match made {
        Ok(made) => pedal(made).await.map(|()| println!("pedal: good"))?,
        Err(why) => println!("pedal: not tried here, no uinput: {why}"),
    }
    let folder = Path::new(SIM).join("turnstage");
    match chip(&folder) {
        Ok(pull) => {
            let done = line(&pull).await;
            std::fs::write(folder.join("live"), "0")?;
            std::fs::remove_dir(folder.join("bank"))?;
            std::fs::remove_dir(&folder)?;
            done.map(|()| println!("line: good"))?;
        }
        Err(why) => println!("line: not tried here, no gpio-sim: {why}"),
    }
    Ok(())
}
