"""Where models come from: files judged by their bytes, families told by keys, downloads, licences. Free of torch."""
