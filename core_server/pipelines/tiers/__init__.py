"""How the denoiser is called: which kernels compute it, and whether Python or a CUDA graph launches them.

`kernels` are chosen by what the device has and change the last bits of a picture; `graphs` change nothing but the time.
`processor_unet` is for models on a processor: half precision and fewer calls.
A tier that cannot be used, for whatever reason, is left out: the picture is then painted by stock PyTorch.
"""
