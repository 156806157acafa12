package sparknomad;

import java.io.Serializable;
import org.apache.spark.api.java.function.FlatMapFunction;
import scala.collection.Iterator;
import scala.collection.JavaConverters;
import scala.runtime.AbstractFunction1;

/** A function of Java's as Scala's stages with a barrier want it. */
final class OneByOne extends AbstractFunction1<Iterator<Integer>, Iterator<Checked>>
    implements Serializable {
  private static final long serialVersionUID = 1L;
  private final FlatMapFunction<java.util.Iterator<Integer>, Checked> function;

  OneByOne(FlatMapFunction<java.util.Iterator<Integer>, Checked> function) {
    this.function = function;
  }

  @Override
  @SuppressWarnings("deprecation")
  public Iterator<Checked> apply(Iterator<Integer> items) {
    try {
      return JavaConverters.asScalaIterator(
          function.call(JavaConverters.asJavaIterator(items)));
    } catch (RuntimeException error) {
      throw error;
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
  }
}
