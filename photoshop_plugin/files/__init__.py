"""PSD files where no Photoshop is: the same layer and mask, read and written with psd-tools."""
