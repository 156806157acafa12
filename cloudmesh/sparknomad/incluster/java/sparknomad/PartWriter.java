package sparknomad;

import java.io.EOFException;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.hadoop.fs.BBUploadHandle;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.MultipartUploader;
import org.apache.hadoop.fs.PartHandle;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.UploadHandle;

/** Writes one part of an object that others write too; see {@link Uploads}. */
final class PartWriter {
  private PartWriter() {}

  /**
   * Writes the part.
   *
   * @param stream stands at the part's first byte
   * @param progress is told of every byte; of a part that fails, they are taken back
   */
  static long write(
      Shard shard, InputStream stream, FileSystem to, Path target, Moved moved,
      AtomicLong progress) throws IOException {
    UploadHandle upload = BBUploadHandle.from(Uploads.decode(shard.upload));
    boolean whole = false;
    Counted counted = new Counted(stream, shard, progress);
    try (MultipartUploader uploader = Uploads.uploader(to, target)) {
      PartHandle handle = Uploads.get(put(uploader, upload, shard, target, counted));
      if (counted.left > 0) {
        throw new EOFException(shard.source + " ended " + counted.left + " bytes too early");
      }
      moved.handle = Uploads.encode(handle.bytes());
      moved.digest = HexFormat.of().formatHex(counted.md5.digest());
      whole = true;
      return shard.length;
    } finally {
      if (!whole) {
        progress.addAndGet(-counted.told);
      }
    }
  }

  /** Hadoop 3.4 wants to know whether it is the last part, 3.3 does not. */
  @SuppressWarnings("unchecked")
  private static CompletableFuture<PartHandle> put(
      MultipartUploader uploader, UploadHandle upload, Shard shard, Path target, InputStream data)
      throws IOException {
    boolean last = shard.start + shard.length == shard.size;
    try {
      for (Method each : MultipartUploader.class.getMethods()) {
        if (each.getName().equals("putPart")) {
          Object told = each.getParameterCount() == 6
              ? each.invoke(uploader, upload, shard.part, last, target, data, shard.length)
              : each.invoke(uploader, upload, shard.part, target, data, shard.length);
          return (CompletableFuture<PartHandle>) told;
        }
      }
    } catch (InvocationTargetException error) {
      Throwable cause = error.getCause();
      throw cause instanceof IOException ? (IOException) cause : new IOException(cause);
    } catch (IllegalAccessException error) {
      throw new IllegalStateException(error);
    }
    throw new IllegalStateException("this Hadoop writes parts in an unknown way");
  }

  /** The bytes of the part and no more; whoever reads them again by a mark is not counted twice. */
  private static final class Counted extends FilterInputStream {
    private final AtomicLong progress;
    private final MessageDigest md5;
    private long left;
    private long told;

    Counted(InputStream stream, Shard shard, AtomicLong progress) throws IOException {
      super(stream);
      this.left = shard.length;
      this.progress = progress;
      try {
        this.md5 = MessageDigest.getInstance("MD5");
      } catch (NoSuchAlgorithmException none) {
        throw new IOException(none);
      }
    }

    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      int count = read(one, 0, 1);
      return count < 0 ? -1 : one[0] & 0xff;
    }

    @Override
    public int read(byte[] buffer, int offset, int length) throws IOException {
      if (left == 0) {
        return -1;
      }
      int count = in.read(buffer, offset, (int) Math.min(length, left));
      if (count > 0) {
        md5.update(buffer, offset, count);
        left -= count;
        told += count;
        progress.addAndGet(count);
      }
      return count;
    }

    @Override
    public long skip(long count) {
      return 0; // what is not read would not be in the digest
    }

    @Override
    public int available() {
      return 0;
    }

    @Override
    public boolean markSupported() {
      return false; // a part that fails is read again from its source
    }

    @Override
    public synchronized void mark(int limit) {}

    @Override
    public synchronized void reset() throws IOException {
      throw new IOException("a part is read once");
    }
  }
}
