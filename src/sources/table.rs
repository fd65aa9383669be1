//! Parquet tables of images: one image a row, with its label beside it.

use std::fs::File;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::basic::Type as PhysicalType;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;

use super::{Item, ItemName, Sources, Visitor, check_size, failed, read_error, source};

/// Whether a file is opened as a table: by its name.
pub(super) fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// Rows that any table may have, and bytes that each one beyond must bring with it. In a table, a few bytes can stand for any number of rows,
/// and each image costs its decoder something however short it is; a JPEG file has more than this in its headers.
const FREE_ROWS: u64 = 1_000;
const MIN_ROW_BYTES: u64 = 128;

/// Bytes of images and names that any table may give, and how many for each of its own beyond that: a dictionary holds once what many rows
/// have, but JPEG files do not repeat themselves.
const FREE_GIVEN_BYTES: u64 = 1 << 20;
const MAX_GIVEN_EXPANSION: u64 = 8;

/// Why the rest of a table cannot be read.
type Broken = String;

impl Sources {
    /// Visits the images of a table row by row, one page of each column in memory. After what cannot be read, the rest of the table is not
    /// read either.
    pub(super) fn visit_table(&self, path: &Path, visitor: &mut Visitor) -> ControlFlow<()> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (table_bytes, file) = match opened {
            Ok(opened) => opened,
            Err(error) => return visitor.take(failed(path, read_error(&error))),
        };
        let mut num_rows = 0;
        let read = guarded(|| SerializedFileReader::new(file).map_err(text)).and_then(|table| {
            let columns = Columns::find(table.metadata().file_metadata().schema_descr())?;
            let groups = table.metadata().row_groups();
            check_rows(groups.iter().map(|group| group.num_rows()), table_bytes)?;
            let mut given_bytes = 0;
            for group_idx in 0..table.num_row_groups() {
                let mut rows = guarded(|| Rows::open(&*table.get_row_group(group_idx).map_err(text)?, &columns))?;
                while let Some(row) = guarded(|| rows.next_row())? {
                    given_bytes += row.given_bytes(self.max_file_bytes);
                    check_given(given_bytes, table_bytes)?;
                    num_rows += 1;
                    if visitor.take(self.item(path, num_rows, row)).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
            Ok(ControlFlow::Continue(()))
        });
        match read {
            Ok(ControlFlow::Continue(())) if num_rows == 0 => visitor
                .take(failed(path, source("bad-archive", "the table holds no rows: check that it is the right file"))),
            Ok(flow) => flow,
            Err(message) => {
                let message = format!("the table cannot be read after {num_rows} images ({message}): make it again");
                visitor.take(failed(path, source("bad-archive", message)))
            }
        }
    }

    /// The image of a row, which is named by its name, or else by its number, counted from 1.
    fn item(&self, path: &Path, row_number: usize, row: Row) -> Item {
        let name = row.name.map(|name| String::from_utf8_lossy(name.data()).into_owned());
        let member = name.unwrap_or_else(|| row_number.to_string());
        let bytes = match row.image {
            None => Err(source("bad-archive", "the row holds no image (it is null): leave it out of the table")),
            Some(image) => check_size(image.len() as u64, self.max_file_bytes).map(|()| image.data().to_vec()),
        };
        Item {
            name: ItemName { path: path.to_path_buf(), member: Some(PathBuf::from(member)) },
            label: row.label,
            bytes,
        }
    }
}

/// Fails, before any row is read, if there are more than the table's length pays for.
fn check_rows(rows_of_groups: impl Iterator<Item = i64>, table_bytes: u64) -> Result<(), Broken> {
    let num_rows = rows_of_groups.fold(0u64, |sum, num_rows| sum.saturating_add(num_rows.try_into().unwrap_or(0)));
    let max_rows = FREE_ROWS + table_bytes / MIN_ROW_BYTES;
    if num_rows > max_rows {
        let message = format!("{num_rows} rows in {table_bytes} bytes: {max_rows} at most, {MIN_ROW_BYTES} bytes each");
        return Err(message);
    }
    Ok(())
}

/// Fails if the rows so far have given more than the table's length pays for.
fn check_given(given_bytes: u64, table_bytes: u64) -> Result<(), Broken> {
    let max_bytes = FREE_GIVEN_BYTES.saturating_add(table_bytes.saturating_mul(MAX_GIVEN_EXPANSION));
    if given_bytes > max_bytes {
        let message =
            format!("its rows repeat or unpack to more than {max_bytes} bytes: write each image once, uncompressed");
        return Err(message);
    }
    Ok(())
}

/// The columns that say something about an image.
struct Columns {
    image: usize,
    label: Option<usize>,
    name: Option<usize>,
}

impl Columns {
    fn find(schema: &SchemaDescriptor) -> Result<Self, Broken> {
        let find = |names: &[&str], types: &[PhysicalType]| {
            (0..schema.num_columns()).find(|&idx| {
                let column = schema.column(idx);
                let is_flat = column.max_rep_level() == 0;
                is_flat && names.contains(&column.path().string().as_str()) && types.contains(&column.physical_type())
            })
        };
        // `image.bytes` and `image.path` are how Hugging Face's datasets write an image.
        let bytes = &[PhysicalType::BYTE_ARRAY];
        let image = find(&["image", "image.bytes"], bytes)
            .ok_or("it has no binary column `image` or `image.bytes`, which would hold the files")?;
        let integers = &[PhysicalType::INT32, PhysicalType::INT64];
        Ok(Self { image, label: find(&["label"], integers), name: find(&["name", "image.path"], bytes) })
    }
}

/// One row of a table.
struct Row {
    image: Option<ByteArray>,
    label: Option<i64>,
    name: Option<ByteArray>,
}

impl Row {
    /// What is copied of it; an image over the limit is not.
    fn given_bytes(&self, max_file_bytes: u64) -> u64 {
        let image_bytes = self.image.as_ref().map_or(0, |image| image.len() as u64);
        let name_bytes = self.name.as_ref().map_or(0, |name| name.len() as u64);
        name_bytes + if image_bytes > max_file_bytes { 0 } else { image_bytes }
    }
}

/// The rows of a row group.
struct Rows {
    num_left: i64,
    image: Column<ByteArrayType>,
    label: Option<Labels>,
    name: Option<Column<ByteArrayType>>,
}

/// Labels are integers of either width.
enum Labels {
    Int32(Column<parquet::data_type::Int32Type>),
    Int64(Column<parquet::data_type::Int64Type>),
}

impl Rows {
    fn open(group: &dyn RowGroupReader, columns: &Columns) -> Result<Self, Broken> {
        let open = |idx: usize| group.get_column_reader(idx).map_err(text);
        let bytes = |idx: usize| match open(idx)? {
            ColumnReader::ByteArrayColumnReader(reader) => Ok(Column::new(reader)),
            _ => Err(Broken::from("a column changes its type")),
        };
        let labels = |idx: usize| match open(idx)? {
            ColumnReader::Int32ColumnReader(reader) => Ok(Labels::Int32(Column::new(reader))),
            ColumnReader::Int64ColumnReader(reader) => Ok(Labels::Int64(Column::new(reader))),
            _ => Err(Broken::from("a column changes its type")),
        };
        Ok(Self {
            num_left: group.metadata().num_rows(),
            image: bytes(columns.image)?,
            label: columns.label.map(labels).transpose()?,
            name: columns.name.map(bytes).transpose()?,
        })
    }

    fn next_row(&mut self) -> Result<Option<Row>, Broken> {
        if self.num_left <= 0 {
            return Ok(None);
        }
        self.num_left -= 1;
        let label = match &mut self.label {
            None => None,
            Some(Labels::Int32(column)) => column.next_value()?.map(i64::from),
            Some(Labels::Int64(column)) => column.next_value()?,
        };
        let name = match &mut self.name {
            None => None,
            Some(column) => column.next_value()?,
        };
        Ok(Some(Row { image: self.image.next_value()?, label, name }))
    }
}

/// A column, read value by value.
struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    values: Vec<T::T>,
    definition_levels: Vec<i16>,
}

impl<T: DataType> Column<T> {
    fn new(reader: ColumnReaderImpl<T>) -> Self {
        Self { reader, values: Vec::new(), definition_levels: Vec::new() }
    }

    /// The value of the next row; `None` where it is null.
    fn next_value(&mut self) -> Result<Option<T::T>, Broken> {
        self.values.clear();
        self.definition_levels.clear();
        let levels = Some(&mut self.definition_levels);
        let (num_records, ..) = self.reader.read_records(1, levels, None, &mut self.values).map_err(text)?;
        match num_records {
            1 => Ok(self.values.pop()),
            _ => Err("a column ends before the others".into()),
        }
    }
}

fn text(error: ParquetError) -> Broken {
    error.to_string()
}

/// Runs a piece of reading; should the reader panic on bytes it did not expect, the table is broken, and nothing else.
fn guarded<T>(read: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("its reader gave up".into()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::data_type::Int64Type;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    /// File, label and name; an absent file or name is null.
    type Entry<'a> = (Option<&'a [u8]>, i64, Option<&'a str>);

    /// A table of two rows a row group.
    fn table(rows: &[Entry]) -> Vec<u8> {
        table_of_groups(rows, 2)
    }

    fn table_of_groups(rows: &[Entry], rows_per_group: usize) -> Vec<u8> {
        let schema = "message images { optional binary image; required int64 label; optional binary name (UTF8); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut bytes = Vec::new();
        let mut writer =
            SerializedFileWriter::new(&mut bytes, schema, Arc::new(WriterProperties::builder().build())).unwrap();
        for rows in rows.chunks(rows_per_group) {
            let mut group = writer.next_row_group().unwrap();
            let mut write_binary = |values: Vec<Option<ByteArray>>| {
                let mut column = group.next_column().unwrap().unwrap();
                let levels: Vec<i16> = values.iter().map(|value| value.is_some().into()).collect();
                let values: Vec<_> = values.into_iter().flatten().collect();
                column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
                column.close().unwrap();
            };
            write_binary(rows.iter().map(|row| row.0.map(|image| image.to_vec().into())).collect());
            let mut column = group.next_column().unwrap().unwrap();
            let labels: Vec<i64> = rows.iter().map(|row| row.1).collect();
            column.typed::<Int64Type>().write_batch(&labels, None, None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let names: Vec<ByteArray> = rows.iter().filter_map(|row| row.2).map(ByteArray::from).collect();
            let levels: Vec<i16> = rows.iter().map(|row| row.2.is_some().into()).collect();
            column.typed::<ByteArrayType>().write_batch(&names, Some(&levels), None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.close().unwrap();
        bytes
    }

    type Seen = (String, Option<i64>, Result<usize, &'static str>);

    fn visit(bytes: &[u8]) -> Vec<Seen> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        std::fs::write(&path, bytes).unwrap();
        let mut seen = Vec::new();
        Sources::new([&path], 1000).for_each(|item| {
            let name = item.name.member.map_or("t.parquet".into(), |member| member.display().to_string());
            seen.push((name, item.label, item.bytes.map(|bytes| bytes.len()).map_err(|error| error.code())));
            ControlFlow::Continue(())
        });
        seen
    }

    #[test]
    fn rows_come_in_order_with_their_labels() {
        let rows = [
            (Some(&b"abc"[..]), 7, Some("a.jpg")),
            (None, 0, Some("null")),
            (Some(b"de"), -1, None),
            (Some(&[0; 1001]), 3, Some("too large")),
        ];
        let expected: [Seen; 4] = [
            ("a.jpg".into(), Some(7), Ok(3)),
            ("null".into(), Some(0), Err("bad-archive")),
            ("3".into(), Some(-1), Ok(2)),
            ("too large".into(), Some(3), Err("over-limit")),
        ];
        assert_eq!(visit(&table(&rows)), expected);
    }

    #[test]
    fn what_is_no_table_of_images_is_one_failed_item() {
        let broken: [Seen; 1] = [("t.parquet".into(), None, Err("bad-archive"))];
        assert_eq!(visit(b"PAR1 and nothing else"), broken);
        assert_eq!(visit(&table(&[])), broken);
        let renamed = String::from_utf8_lossy(&table(&[])).replace("image", "tiger");
        assert_eq!(visit(renamed.as_bytes()), broken);
    }

    /// Rows of nothing, in a run: a few bytes stand for all of them.
    #[test]
    fn a_table_has_no_more_rows_than_its_length_pays_for() {
        let nulls = |num_rows: usize| visit(&table_of_groups(&vec![(None, 0, None); num_rows], num_rows));
        let seen = nulls(FREE_ROWS as usize);
        assert_eq!(seen.len(), FREE_ROWS as usize);
        let seen = nulls(100_000);
        assert_eq!(seen, [("t.parquet".into(), None, Err("bad-archive"))]);
    }

    /// One image in a dictionary, which all rows name.
    #[test]
    fn a_table_gives_no_more_than_its_length_pays_for() {
        let (image, name) = ([7; 1000], "n".repeat(1000));
        let repeated = |num_rows: usize| {
            let bytes = table_of_groups(&vec![(Some(&image[..]), 1, Some(&name[..])); num_rows], num_rows);
            assert!(bytes.len() < 10_000, "the writer uses a dictionary");
            visit(&bytes)
        };
        let seen = repeated(500);
        assert!(seen.len() == 500 && seen.iter().all(|(_, _, bytes)| *bytes == Ok(1000)));
        let seen = repeated(900);
        assert!((520..600).contains(&seen.len()), "{}", seen.len());
        assert_eq!(seen.last(), Some(&("t.parquet".into(), None, Err("bad-archive"))));
    }

    #[test]
    fn what_a_table_may_give_follows_from_its_length() {
        assert!(check_rows([900, 100, -5].into_iter(), 0).is_ok() && check_rows([900, 101].into_iter(), 127).is_err());
        assert!(check_rows([900, 101].into_iter(), 128).is_ok() && check_rows([i64::MAX; 9].into_iter(), 128).is_err());
        assert!(check_given((1 << 20) + 80, 10).is_ok() && check_given((1 << 20) + 81, 10).is_err());
    }

    #[test]
    fn damaged_tables_never_panic() {
        let rows = [(Some(&b"abc"[..]), 7, Some("a.jpg")), (Some(b"defg"), 1, None), (Some(b"hi"), 2, None)];
        let sound = table(&rows);
        for at in 0..sound.len() {
            for flip in [1u8, 0x80, 0xff] {
                let mut bytes = sound.clone();
                bytes[at] ^= flip;
                visit(&bytes);
            }
        }
    }
}
