package sparknomad;

import java.io.Serializable;

/** One thing that was tried on one executor. */
public final class Checked implements Serializable {
  private static final long serialVersionUID = 1L;

  public String node;

  /** What the step is about: a storage, or empty for the node itself. */
  public String subject = "";

  public String step;
  public boolean ok = true;
  public double seconds;

  /** Bytes a second, of steps that move some. */
  public double rate;

  /** What was found, or what went wrong. */
  public String detail = "";

  Checked(String node, String subject, String step) {
    this.node = node;
    this.subject = subject;
    this.step = step;
  }
}
