//! Boots the application.

fn main() {
    tmkms::application::boot()
}
