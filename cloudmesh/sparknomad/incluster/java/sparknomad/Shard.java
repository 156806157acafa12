package sparknomad;

import java.io.Serializable;

/** A range of bytes of one object, and the file that it becomes. */
public final class Shard implements Serializable {
  private static final long serialVersionUID = 1L;

  /** Where the object is, as Hadoop names it. */
  public String source;

  /** The file that is written; it appears under this name only when it is whole. */
  public String target;

  /** The first byte. */
  public long start;

  /** How many bytes. */
  public long length;

  /** The size of the whole object, in bytes. */
  public long size;

  /** What changes with the object's content, as a listing told it; may be empty. */
  public String version = "";

  /** Whether a file of the right length at the target is taken for this shard. */
  public boolean resume;

  /** Whether what was written is compared with what was read. */
  public boolean verify;

  /** The upload that it is a part of, in Base64, as {@link Uploads} tells; else empty. */
  public String upload = "";

  /** Its number among the parts, from 1. */
  public int part;

  /** The hosts that hold its bytes, where the storage knows. */
  public String[] hosts = {};

  boolean isWhole() {
    return start == 0 && length == size;
  }
}
