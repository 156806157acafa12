package sparknomad;

import java.io.IOException;
import java.nio.ByteBuffer;
import org.apache.hadoop.fs.FileChecksum;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * The CRC32C that Google's storage knows of each object, also of composed ones, which have no MD5.
 *
 * <p>It costs a request of its own: the connector's listings do not show it to others.
 */
final class GoogleChecksum {
  private static final String ALGORITHM = "COMPOSITE-CRC32C";

  private GoogleChecksum() {}

  static boolean isTold(String place) {
    return place.startsWith("gs:");
  }

  /** An object's checksum; below zero if it is not told. */
  static long of(FileSystem storage, Path path) throws IOException {
    FileChecksum told;
    try {
      told = storage.getFileChecksum(path);
    } catch (IllegalStateException none) {
      return -1; // the connector's own check of what a server has left out
    }
    if (told == null || !told.getAlgorithmName().equals(ALGORITHM)) {
      return -1; // see fs.gs.checksum.type
    }
    byte[] bytes = told.getBytes();
    boolean whole = bytes != null && bytes.length == Integer.BYTES;
    return whole ? ByteBuffer.wrap(bytes).getInt() & 0xffffffffL : -1;
  }

  /** Compares what came of a whole object with what the storage knows of it. */
  static void check(Shard shard, FileSystem from, Path source, Proof proof) throws IOException {
    if (!isTold(shard.source) || proof.crc < 0) {
      return;
    }
    long told = of(from, source);
    if (told < 0 || told == proof.crc) {
      return;
    }
    if (!Listing.version(from.getFileStatus(source)).equals(shard.version)
        && !shard.version.isEmpty()) {
      throw new Failures.ChangedException(source + " has changed since it was listed");
    }
    throw new IOException(source + " arrived damaged: its CRC32C is not the storage's");
  }
}
