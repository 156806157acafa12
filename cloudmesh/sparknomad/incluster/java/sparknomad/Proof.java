package sparknomad;

import java.io.IOException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.regex.Pattern;
import java.util.zip.CRC32C;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** What is remembered of the bytes of a shard, to compare it with what was written. */
final class Proof {
  private static final int SAMPLE = 64 * 1024;
  private static final Pattern MD5 = Pattern.compile("[0-9a-f]{32}");

  /** The MD5 of what came, in hexadecimal; empty until the end, or if nothing is compared. */
  String digest = "";

  /** The CRC32C of what came; below zero until the end, or if nothing is compared. */
  long crc = -1;

  private final Shard shard;
  private final MessageDigest md5;
  private final CRC32C crc32c;
  private final byte[] head;
  private final byte[] tail;

  Proof(Shard shard) {
    this.shard = shard;
    boolean whole = shard.isWhole();
    this.md5 = whole && (shard.verify || isMd5(shard.version)) ? newMd5() : null;
    boolean told = GoogleChecksum.isTold(shard.source)
        || shard.verify && GoogleChecksum.isTold(shard.target);
    this.crc32c = whole && told ? new CRC32C() : null;
    int size = shard.verify ? (int) Math.min(SAMPLE, shard.length) : 0;
    this.head = new byte[size];
    this.tail = new byte[size];
  }

  /** Whether an ETag looks like an MD5; S3's have quotation marks around. */
  static boolean isMd5(String version) {
    return MD5.matcher(plain(version)).matches();
  }

  static String plain(String version) {
    return version.replace("\"", "");
  }

  private static MessageDigest newMd5() {
    try {
      return MessageDigest.getInstance("MD5");
    } catch (NoSuchAlgorithmException none) {
      return null;
    }
  }

  /** Takes the next bytes; {@code at} is their place in the shard. */
  void update(byte[] buffer, int count, long at) {
    if (md5 != null) {
      md5.update(buffer, 0, count);
    }
    if (crc32c != null) {
      crc32c.update(buffer, 0, count);
    }
    keep(head, 0, buffer, count, at);
    keep(tail, shard.length - tail.length, buffer, count, at);
  }

  private static void keep(byte[] sample, long start, byte[] buffer, int count, long at) {
    long from = Math.max(start, at);
    long to = Math.min(start + sample.length, at + count);
    if (from < to) {
      System.arraycopy(
          buffer, (int) (from - at), sample, (int) (from - start), (int) (to - from));
    }
  }

  void end() {
    if (md5 != null) {
      digest = HexFormat.of().formatHex(md5.digest());
    }
    if (crc32c != null) {
      crc = crc32c.getValue();
    }
  }

  /**
   * Compares what is at the target now.
   *
   * @return whether a checksum has proven it; else length and both ends did
   */
  boolean verify(FileSystem storage, Path target) throws IOException {
    FileStatus status = storage.getFileStatus(target);
    if (status.getLen() != shard.length) {
      throw new IOException(target + " has " + status.getLen() + " bytes, not " + shard.length);
    }
    String version = Listing.version(status);
    if (isMd5(version) && plain(version).equals(digest)) {
      return true;
    }
    if (crc >= 0 && GoogleChecksum.isTold(shard.target)) {
      long told = GoogleChecksum.of(storage, target);
      if (told >= 0 && told != crc) {
        throw new IOException(target + " has another CRC32C than what was written");
      }
      if (told >= 0) {
        return true;
      }
    }
    byte[] back = new byte[head.length];
    try (FSDataInputStream stream = storage.open(target)) {
      stream.readFully(0, back);
      boolean same = Arrays.equals(back, head);
      stream.readFully(shard.length - back.length, back);
      if (!same || !Arrays.equals(back, tail)) {
        throw new IOException(target + " was read back with other bytes than were written");
      }
    }
    return false;
  }
}
