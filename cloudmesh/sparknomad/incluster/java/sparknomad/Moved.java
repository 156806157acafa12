package sparknomad;

import java.io.Serializable;

/** What became of one shard. */
public final class Moved implements Serializable {
  private static final long serialVersionUID = 1L;

  public String source;
  public String target;
  public String host = "";

  /** Bytes that were read from the source; none if the shard was there already. */
  public long bytes;

  /** The time at which it began and ended, in seconds since the epoch. */
  public double began;

  public double ended;

  /** How often it was begun. */
  public int attempts;

  /** Whether a checksum of the target's has proven it. */
  public boolean proven;

  /** Of a part of an upload: its number, what the storage calls it, and its MD5. */
  public int part;

  public String handle = "";
  public String digest = "";

  /** What kind of failure; empty if it is whole. See {@link Failures}. */
  public String failure = "";

  public String reason = "";
}
